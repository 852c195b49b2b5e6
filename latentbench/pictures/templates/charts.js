"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  // Charts: without eval, so that the policy of the page need not allow it.
  const axis = {
    domainColor: "currentColor", domainOpacity: 0.4, gridColor: "currentColor", gridOpacity: 0.15,
    labelColor: "currentColor", labelFontSize: 12, labelOverlap: true, labelSeparation: 6,
    tickColor: "currentColor", tickOpacity: 0.4,
    titleColor: "currentColor", titleFontSize: 12, titleFontWeight: "normal",
  };
  const config = {
    axis, background: "transparent", font: "system-ui, sans-serif", rule: { color: "currentColor" },
    mark: { aria: false }, view: { stroke: null },
  };
  const options = { renderer: "svg", actions: false, ast: true, config };
  const drawn = [...document.querySelectorAll("[data-chart]")].map((place) =>
    vegaEmbed(place, read(place.dataset.chart), options).then((made) => {
      place.view = made.view;
    }),
  );
  Promise.all(drawn).then(() => document.body.setAttribute("data-drawn", drawn.length));
})();
