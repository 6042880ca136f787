"""Put the measured numbers into the model cards: python scripts/cards.py

Each card data/NAME.md has lines `<!-- scores KIND -->` … `<!-- end -->`; what stands between them is written anew from
data/scores-KIND-NAME.json, which scripts/measure.py makes.
"""

import json
import re
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
TOOLS = "mediapipe", "dlib"
MEASURES = {"psnr": "PSNR (dB)", "gain": "over copying (dB)", "l1": "L1", "sharpness": "sharpness"}


def span(measured: list[float], digits: int) -> str:
    "Mean and 95 % interval over people."
    mean, low, high = (f"{value:.{digits}f}" for value in measured)
    return f"{mean} ({low} … {high})"


def scores_table(scores: dict) -> str:
    "One row per predictor and third of motion."
    lines = ["| | pairs | " + " | ".join(MEASURES.values()) + " |", "|---" * (2 + len(MEASURES)) + "|"]
    for name, rows in scores.items():
        if name.startswith("mouth"):
            continue
        for row in rows:
            cells = [span(row[measure], 2 if measure in ("psnr", "gain") else 3) for measure in MEASURES]
            lines.append(f"| {name}, {row['group']} | {row['pairs']} | " + " | ".join(cells) + " |")
    mouth = scores.get("mouth opening (mediapipe)")
    if mouth:
        lines += [
            "",
            f"Mouth opening seen by MediaPipe in {mouth['found']} of {mouth['pairs']} pairs: correlation with the "
            f"truth {mouth['correlation']:.2f} (a copy of the source: {mouth['of the copy']:.2f}); of the change from "
            f"the source {mouth['of the change']:.2f}.",
        ]
    return "\n".join(lines)


def faces_table(scores: dict) -> str:
    "One row per predictor and third of motion, as face tools see them."
    names = ["feature distance", "identity", *(f"{part}, {tool}" for part in ("mouth", "eyes") for tool in TOOLS)]
    lines = ["| | faces found | " + " | ".join(names) + " |", "|---" * (2 + len(names)) + "|"]
    for name, groups in scores.items():
        for group, row in groups.items():
            numbers = " | ".join(f"{row[key]:.3f}" for key in names)
            found = ", ".join(str(row[f"faces, {tool}"]) for tool in TOOLS)
            lines.append(f"| {name}, {group} | {found} | {numbers} |")
    return "\n".join(lines)


def cross_table(scores: dict) -> str:
    "One row per clip, one number per still."
    lines = ["| clip | frames | correlation of motion | identity |", "|---|---|---|---|"]
    for clip in dict.fromkeys(row["clip"] for row in scores["results"]):
        rows = [row for row in scores["results"] if row["clip"] == clip]
        values = [", ".join(f"{row[key]:.2f}" for row in rows) for key in ("correlation", "identity")]
        cells = " | ".join(values).replace("nan", "–")
        lines.append(f"| {clip} | {rows[0]['frames']} of {rows[0]['frames wanted']} | {cells} |")
    return "\n".join([*lines, "", f"Median {scores['median correlation']:.2f}."])


def tables_table(scores: dict) -> str:
    "One row per way of counting the codes, and what becomes of the flow."
    lines = ["| table | codes | all together hear | one question hears | dead |", "|---|---|---|---|---|"]
    for name, counted in scores["usage"].items():
        heard = f"{counted['perplexity_of_mean']:.1f} | {counted['mean_perplexity']:.1f}"
        lines.append(f"| {name} | {counted['codes']} | {heard} | {counted['dead']} |")
    flow = ", ".join(f"{error:.3f}" for error in scores["flow"])
    changed = span(scores["flow, last less first"], 3)
    return "\n".join([*lines, "", f"Error of the flow, M⁰ to M⁴: {flow} px; M⁴ less M⁰: {changed}."])


def fill(card: Path):
    "Write the card's tables anew."

    def table(found: re.Match) -> str:
        scores = json.loads((DATA / f"scores-{found[1]}-{card.stem}.json").read_text())
        body = {"cross": cross_table, "faces": faces_table, "tables": tables_table}.get(found[1], scores_table)(scores)
        return f"<!-- scores {found[1]} -->\n{body}\n<!-- end -->"

    text = card.read_text(encoding="utf-8")
    card.write_text(re.sub(r"<!-- scores (\w+) -->\n.*?<!-- end -->", table, text, flags=re.S), encoding="utf-8")


if __name__ == "__main__":
    for name in ("codebooks-tiny", "small", "tiny", "tiny-synthetic"):
        fill(DATA / f"{name}.md")
