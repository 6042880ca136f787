// Arrays with shapes, and the few sums that are drawn: attention from stored queries and keys, entropies, errors.

const HALF_RANGE = 16384;  // numbers of two bytes count in this part of 1
const READERS = {
  f4: (bytes) => new Float32Array(bytes), u1: (bytes) => new Uint8Array(bytes),
  i2: (bytes) => Float32Array.from(new Int16Array(bytes), (value) => value / HALF_RANGE),
};

function toTensor({ shape, type, data }) {
  const bytes = data.buffer ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
  return { shape, data: READERS[type](bytes.slice().buffer) };
}

const rowOf = (tensor, row, width) => tensor.data.subarray(row * width, (row + 1) * width);

const sum = (values) => values.reduce((total, value) => total + value, 0);

function softmax(values) {
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float32Array.from(values, (value) => Math.exp(value - largest));
  const total = sum(powers);
  return powers.map((value) => value / total);
}

// q·k of one place of the query with every place of the memory, divided by the temperature
function likeness(query, key, place, temperature) {
  const [channels, ...grid] = query.shape, asked = grid[0] * grid[1], places = key.shape[1] * key.shape[2];
  const scores = new Float32Array(places);
  for (let c = 0; c < channels; c++) {
    const q = query.data[c * asked + place] / temperature;
    if (q) for (let m = 0; m < places; m++) scores[m] += q * key.data[c * places + m];
  }
  return scores;
}

const attentionRow = (query, key, place, temperature) => softmax(likeness(query, key, place, temperature));

// e to the entropy: how many places are heard, if they were heard alike
const perplexity = (shares) => Math.exp(-sum(shares.map((share) => (share > 0 ? share * Math.log(share) : 0))));

const MOST_PRODUCTS = 3e8;  // about half a second

// one pass over all questions: how many places each hears, and how much of one chosen place; of a large map every n-th is asked
function readAll(query, key, temperature, chosen) {
  const [channels, rows, columns] = query.shape, places = key.shape[1] * key.shape[2];
  const step = Math.max(1, Math.ceil(Math.sqrt((channels * rows * columns * places) / MOST_PRODUCTS)));
  const heard = new Float32Array(rows * columns), readers = new Float32Array(rows * columns);
  for (let top = 0; top < rows; top += step) for (let left = 0; left < columns; left += step) {
    const shares = attentionRow(query, key, top * columns + left, temperature), count = perplexity(shares);
    for (let y = top; y < Math.min(rows, top + step); y++) for (let x = left; x < Math.min(columns, left + step); x++) {
      heard[y * columns + x] = count;
      readers[y * columns + x] = shares[chosen];
    }
  }
  return { heard, readers, step };
}

function channelsOf(tensor) {
  const [channels, height, width] = tensor.shape, size = height * width;
  return Array.from({ length: channels }, (_, c) => tensor.data.subarray(c * size, (c + 1) * size));
}

const energyOf = (maps) => maps.map((map) => Math.sqrt(sum(map.map((value) => value * value)) / map.length));

const largestOf = (values) => values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);

// peak signal-to-noise ratio in dB on a range of 1, over the pixels of a mask where there is one
function psnr(one, other, mask) {
  const size = one.length / 3;
  let error = 0, weight = 0;
  for (let n = 0; n < size; n++) {
    const share = mask ? mask[n] : 1;
    if (!share) continue;
    weight += share;
    for (let c = 0; c < 3; c++) error += (share * (one[c * size + n] - other[c * size + n]) ** 2) / 3;
  }
  return weight ? -10 * Math.log10(Math.max(error / weight, 1e-12)) : NaN;
}

// 0 within the hole of a state, 1 elsewhere: mcnet.explore.engine.hole_around
function holeAround(size, { place: [x, y], hole }) {
  const at = (n) => (2 * n) / (size - 1) - 1;
  return Float32Array.from({ length: size * size }, (_, n) => ((at(n % size) - x) ** 2 + (at(Math.floor(n / size)) - y) ** 2 >= hole ** 2 ? 1 : 0));
}

// how far two backward flows (h, w, 2) are apart, in pixels
function flowErrors(one, other, width) {
  return Float32Array.from({ length: one.length / 2 }, (_, n) => (Math.hypot(one[2 * n] - other[2 * n], one[2 * n + 1] - other[2 * n + 1]) * (width - 1)) / 2);
}

// the motion of one keypoint alone, continued over the whole picture: T(z) = s + Jₛ J⁻¹ (z - d)
function taylorFlow(size, from, to) {
  const [a, b, c, d] = to.jacobian || [1, 0, 0, 1], det = a * d - b * c;
  const [e, f, g, h] = product(from.jacobian || [1, 0, 0, 1], [d / det, -b / det, -c / det, a / det]);
  const flow = new Float32Array(2 * size * size);
  for (let n = 0; n < size * size; n++) {
    const x = (2 * (n % size)) / (size - 1) - 1 - to.place[0], y = (2 * Math.floor(n / size)) / (size - 1) - 1 - to.place[1];
    flow[2 * n] = from.place[0] + e * x + f * y;
    flow[2 * n + 1] = from.place[1] + g * x + h * y;
  }
  return flow;
}

const product = ([a, b, c, d], [e, f, g, h]) => [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];

// the same motion the other way round: each pixel of the source is put where it goes, once; where none goes, -1
function pushed(flow, size) {
  const lands = new Int32Array(size * size).fill(-1), nearest = new Float32Array(size * size).fill(Infinity), from = new Int32Array(size * size).fill(-1);
  for (let n = 0; n < size * size; n++) {
    const [x, y] = [flow[2 * n], flow[2 * n + 1]].map((v) => ((v + 1) / 2) * (size - 1)), [column, row] = [Math.round(x), Math.round(y)];
    if (column < 0 || row < 0 || column >= size || row >= size) continue;
    const source = row * size + column, distance = Math.hypot(x - column, y - row);
    if (distance < nearest[source]) { nearest[source] = distance; lands[source] = n; }
  }
  lands.forEach((n, source) => { if (n >= 0) from[n] = source; });
  return from;
}

// of the pixels that a map calls most hidden, how many are: the mean over all cuts that end at a hidden one
function averagePrecision(scores, truth) {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
  let found = 0, total = 0;
  order.forEach((n, rank) => { if (truth[n]) total += ++found / (rank + 1); });
  return found ? total / found : NaN;
}

// how much the vectors (C, N) of some places differ: the root of the mean squared distance from their mean
function spreadOf({ shape: [channels], data }, places) {
  const count = data.length / channels;
  let total = 0;
  for (let c = 0; c < channels; c++) {
    const values = places.map((n) => data[c * count + n]), mean = sum(values) / values.length;
    total += sum(values.map((value) => (value - mean) ** 2)) / values.length;
  }
  return Math.sqrt(total);
}

function meanDifference(one, other) {
  const size = one.length / 3;
  return Float32Array.from({ length: size }, (_, n) => {
    let total = 0;
    for (let c = 0; c < 3; c++) total += Math.abs(one[c * size + n] - other[c * size + n]) / 3;
    return total;
  });
}

// three numbers for each place: the maps' largest shared patterns, from components that were computed once
function projectPlaces(maps, basis) {
  const places = maps[0].length;
  return [0, 1, 2].map((k) => {
    const out = new Float32Array(places);
    maps.forEach((map, c) => { for (let m = 0; m < places; m++) out[m] += basis.data[k * maps.length + c] * map[m]; });
    return out;
  });
}
