/* What the search shows first: pages before the reference, which names the same things without explaining them. */
var Scorer = {
  score: ([page, title, anchor, description, score]) => (page.startsWith("reference/") ? score - 8 : score),
  objNameMatch: 11, objPartialMatch: 6, objPrio: { 0: 15, 1: 5, 2: -5 }, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
};
