// Draws every figure of the page in the reader's colours, and again when the theme changes.
(function () {
  "use strict";
  var style = getComputedStyle(document.documentElement);
  function colour(token) {
    var parts = token.split("/");
    var hex = style.getPropertyValue(parts[0]).trim();
    if (parts.length === 1) { return hex; }
    var n = parseInt(hex.slice(1), 16);
    return "rgba(" + (n >> 16) + "," + ((n >> 8) & 255) + "," + (n & 255) + "," + parts[1] + ")";
  }
  function coloured(value) {
    if (typeof value === "string") { return value.slice(0, 2) === "--" ? colour(value) : value; }
    if (Array.isArray(value)) { return value.map(coloured); }
    if (value && typeof value === "object") {
      var result = {};
      Object.keys(value).forEach(function (key) { result[key] = coloured(value[key]); });
      return result;
    }
    return value;
  }
  function axis(given) {
    return Object.assign({
      gridcolor: colour("--grid"), linecolor: colour("--line"), zerolinecolor: colour("--line"), zeroline: false,
      tickcolor: colour("--line"), automargin: true, title: { standoff: 8 }
    }, given);
  }
  function draw() {
    var narrow = window.innerWidth < 680;
    document.querySelectorAll("[data-figure]").forEach(function (place) {
      var figure = JSON.parse(document.getElementById("figure-" + place.dataset.figure).textContent);
      var layout = Object.assign({
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false, hovermode: "closest",
        font: { family: "system-ui, sans-serif", size: narrow ? 12 : 13, color: colour("--text") },
        margin: { l: 8, r: 12, t: 8, b: 8 },
        hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
        legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" }
      }, coloured(figure.layout));
      Object.keys(layout).forEach(function (key) {
        if (/^[xy]axis\d*$/.test(key)) { layout[key] = axis(layout[key]); }
      });
      window.Plotly.react(place, coloured(figure.data), layout, { responsive: true, displayModeBar: false, doubleClick: "reset" });
    });
  }
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
