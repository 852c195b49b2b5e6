"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  // The table: sorted by its headings, numbers as numbers; rows by what is typed.
  const table = document.getElementById("tidy");
  const body = table.tBodies[0];
  const key = (row, column) => {
    const { sort } = row.cells[column].dataset;
    return sort === undefined ? row.cells[column].textContent : Number(sort);
  };
  const order = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.firstElementChild.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((one) => one.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort(
        (a, b) => order(key(a, column), key(b, column)) * (up ? 1 : -1),
      );
      body.append(...rows);
    });
  });
  const filter = document.getElementById("filter");
  const show = () => {
    const words = filter.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("rows").textContent = `${shown} of ${body.rows.length} rows`;
  };
  filter.addEventListener("input", show);
  show();

  // Files: made of what the page holds, nothing is fetched.
  document.querySelectorAll("[data-save]").forEach((button) => {
    button.addEventListener("click", () => {
      const found = read(button.dataset.from);
      const text = typeof found === "string" ? found : JSON.stringify(found, null, 1);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: button.dataset.type }));
      link.download = button.dataset.save;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  });

  // On paper everything is open, and is folded again afterwards.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("#says details, #provenance details")].filter((one) => !one.open);
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
})();
