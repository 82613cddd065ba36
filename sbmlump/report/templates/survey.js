// Filters of the table of models; the number left is told, and what is set stands in the address, which can be passed on.
const table = document.getElementById("models-table");
const field = (name) => document.getElementById(`filter-${name}`);
const names = ["text", "kinetics", "result", "size", "error", "share"];
const rows = [...table.tBodies[0].rows].map((row) => ({
  row,
  text: row.textContent.toLowerCase(),
  kinetics: row.dataset.kinetics,
  results: [row.dataset.result, ...row.dataset.groups.split(" ")],
  size: Number(row.cells[3].textContent) || 0,
}));
let sorted = null;
const filter = () => {
  const words = field("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [kinetics, result, least] = [field("kinetics").value, field("result").value, Number(field("size").value) || 0];
  const share = field("share").value === "" ? null : Number(field("share").value);
  const small = (row) => {
    if (share === null) return true;
    const best = row.dataset[`share${field("error").value}`];
    return best !== "" && (share >= 1 ? Number(best) < 1 : Number(best) <= share);
  };
  let shown = 0;
  for (const item of rows) {
    const fits = words.every((word) => item.text.includes(word)) && (!kinetics || item.kinetics === kinetics)
      && (!result || item.results.includes(result)) && item.size >= least && small(item.row);
    item.row.hidden = !fits;
    shown += fits;
  }
  field("count").value = `${shown} of ${rows.length} models`;
};
const remember = () => {
  const query = new URLSearchParams();
  for (const name of names) {
    const value = field(name).value;
    if (value !== "" && !(name === "error" && (value === "0" || field("share").value === ""))) query.set(name, value);
  }
  if (sorted) {
    query.set("sort", sorted.column);
    if (!sorted.up) query.set("order", "descending");
  }
  const text = query.toString();
  const place = text ? `#models?${text}` : location.hash.startsWith("#models") ? "#models" : location.hash;
  history.replaceState(null, "", place || location.href.split("#")[0]);
};
const update = () => { filter(); remember(); };
const form = document.querySelector(".filters");
form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(update));
table.addEventListener("sorted", (event) => { sorted = event.detail; remember(); });
const heads = [...table.querySelectorAll("thead th button")];
// links of the charts lead to "#models?…": the heading, with filters set
const restore = () => {
  const [place, query] = location.hash.split("?");
  if (place !== "#models" || query === undefined) return;
  const given = new URLSearchParams(query);
  for (const name of names) field(name).value = given.get(name) ?? (name === "error" ? "0" : "");
  const column = given.has("sort") ? heads[Number(given.get("sort"))] : undefined;
  if (column) {
    const up = given.get("order") !== "descending";
    if (!sorted || sorted.column !== Number(given.get("sort")) || sorted.up !== up) {
      column.click();
      if (sorted.up !== up) column.click();
    }
  }
  filter();
  document.getElementById("models").scrollIntoView();
};
window.addEventListener("hashchange", restore);
filter();
restore();
