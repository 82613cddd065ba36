// Filters of the table of models: text, kinetics, result and size together; the number left is told.
const table = document.getElementById("models-table");
const field = (name) => document.getElementById(`filter-${name}`);
const rows = [...table.tBodies[0].rows].map((row) => ({
  row,
  text: row.textContent.toLowerCase(),
  kinetics: row.dataset.kinetics,
  result: row.dataset.result,
  size: Number(row.cells[3].textContent) || 0,
}));
const filter = () => {
  const words = field("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const [kinetics, result, least] = [field("kinetics").value, field("result").value, Number(field("size").value) || 0];
  let shown = 0;
  for (const item of rows) {
    const fits = words.every((word) => item.text.includes(word)) && (!kinetics || item.kinetics === kinetics)
      && (!result || item.result === result) && item.size >= least;
    item.row.hidden = !fits;
    shown += fits;
  }
  field("count").value = `${shown} of ${rows.length} models`;
};
const form = document.querySelector(".filters");
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
filter();
