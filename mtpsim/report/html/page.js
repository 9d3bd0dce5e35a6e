"use strict";

// mtpsim.formula.closed_form in JavaScript: independent rounds, mean times. Lists start at depth 0.
function closedForm({ target, verify, draft, rates }) {
  const reach = [1], length = [1], time = [target], speedup = [1], breakEven = [null];
  rates.forEach((rate, before) => {
    const k = before + 1;
    reach[k] = reach[before] * rate;
    length[k] = length[before] + reach[k];
    time[k] = verify[before] + draft[before];
    speedup[k] = target * length[k] / time[k];
    const needed = length[before] * (time[k] / time[before] - 1);
    const longest = time[before] * length[k] / length[before];
    breakEven[k] = {
      rate: needed > 0 ? needed / reach[before] : 0,
      verify: longest - draft[before],
      draft: longest - verify[before],
    };
  });
  return { length, time, speedup, breakEven, best: speedup.indexOf(Math.max(...speedup)) };
}

function stepVerdict(gain, { essential, negligible }) {
  if (Math.abs(gain) <= negligible) return "negligible";
  if (gain < 0) return "harmful";
  return gain >= essential ? "essential" : "optional";
}

// A number to sort by: the first of the text, without thousands separators; null where there is none.
function sortKey(text) {
  const found = text.replace(/,(?=\d{3})/g, "").match(/^[^\d+-]{0,3}([+-]?\d*\.?\d+)/);
  return found ? Number(found[1]) : null;
}

function compareTexts(one, other) {
  const [a, b] = [sortKey(one), sortKey(other)];
  if (a !== null && b !== null) return a - b;
  if (a === null && b === null) return one.localeCompare(other);
  return a === null ? 1 : -1;
}

if (typeof document !== "undefined") {
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const draw = (tag, attributes = {}, text = "") => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };

  copyButtons(document);
  document.querySelectorAll("main section:not(.hero, #what-if) table").forEach(sortable);
  document.querySelectorAll("svg.plot").forEach(hoverValues);
  const panel = document.querySelector("#what-if");
  if (panel) whatIf(panel);

  function copyButtons(root) {
    for (const code of root.querySelectorAll("pre > code")) {
      const button = make("button", { type: "button", class: "copy" }, "Copy");
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
        } catch { // a page without a secure origin
          getSelection().selectAllChildren(code);
          document.execCommand("copy");
        }
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      });
      code.closest(".scroll").after(button);
    }
  }

  function sortable(table) {
    const body = table.tBodies[0], rows = [...body.rows];
    if (rows.length < 4) return;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
      button.addEventListener("click", () => {
        const order = { ascending: "descending", descending: "" }[head.getAttribute("aria-sort")] ?? "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        const text = (row) => row.cells[column].textContent.replace("marked: ", "").trim();
        const sorted = order ? [...rows].sort((a, b) => compareTexts(text(a), text(b))) : rows;
        if (order) head.setAttribute("aria-sort", order);
        body.append(...(order === "descending" ? sorted.toReversed() : sorted));
      });
      head.replaceChildren(button);
    });
    if (rows.length > 12) filterable(table, rows);
  }

  function filterable(table, rows) {
    const field = make("input", { type: "search" });
    const count = make("output", {}, `${rows.length} rows`);
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/);
      rows.forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      });
      count.value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    });
    table.parentElement.before(make("p", { class: "filter" }, make("label", {}, "Filter rows ", field), " ", count));
  }

  // Circles with a title carry the values of a chart; the nearest one is shown at the pointer.
  function hoverValues(chart) {
    const points = [...chart.querySelectorAll("circle.value")];
    if (!points.length) return;
    const texts = new Map(points.map((point) => [point, point.textContent]));
    points.forEach((point) => point.replaceChildren());
    const tip = make("div", { class: "tip", "aria-hidden": "true", hidden: "" });
    document.body.append(tip);
    let shown = null;
    const hide = () => {
      tip.hidden = true;
      shown?.classList.remove("shown");
      shown = null;
    };
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("pointermove", (event) => {
      let nearest = null, least = 30;
      for (const point of points) {
        const box = point.getBoundingClientRect();
        const distance = Math.hypot(
          box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY);
        if (distance < least) [nearest, least] = [point, distance];
      }
      if (nearest === shown) return;
      hide();
      if (!nearest) return;
      shown = nearest;
      shown.classList.add("shown");
      tip.textContent = texts.get(shown);
      tip.hidden = false;
      const box = shown.getBoundingClientRect();
      const left = Math.min(box.x + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
      tip.style.left = `${Math.max(left, 4) + scrollX}px`;
      tip.style.top = `${box.y - tip.offsetHeight - 6 + scrollY}px`;
    });
  }

  function whatIf(section) {
    const given = JSON.parse(section.dataset.inputs);
    const part = (name) => section.querySelector(`.${name}`);
    let start = given.points[0], now = structuredClone(start);
    const choice = part("start");
    given.points.forEach((point, n) => choice.append(make("option", { value: n }, point.label)));
    choice.parentElement.hidden = given.points.length === 1;
    choice.addEventListener("change", reset);
    part("reset").addEventListener("click", reset);
    section.hidden = false;
    document.querySelectorAll(".scripted").forEach((element) => { element.hidden = false; });
    reset();

    function reset() {
      start = given.points[Number(choice.value)];
      now = structuredClone(start);
      const error = Math.max(start.error, 1e-6);
      part("error").textContent = `${Number((100 * error).toPrecision(2))}\u00a0%`;
      const steps = start.rates.map((_, n) => n);
      part("controls").replaceChildren(
        group("Plain decoding step, ms", [control("target", null, "T0")]),
        group("Acceptance rate p_k, given that drafts 1 to k-1 were accepted",
          steps.map((n) => control("rates", n, `p${n + 1}`))),
        group("Verify at depth k, ms", steps.map((n) => control("verify", n, `${n + 1}`))),
        group("Draft at depth k, ms", steps.map((n) => control("draft", n, `${n + 1}`))),
      );
      update();
    }

    function group(name, controls) {
      return make("fieldset", {}, make("legend", {}, name), ...controls);
    }

    function control(key, n, name) {
      const value = n === null ? start[key] : start[key][n];
      const rate = key === "rates";
      const unit = rate ? "" : " in ms";
      const title = { target: "plain step", rates: "acceptance rate", verify: "verify time at depth", draft: "draft time at depth" }[key];
      const label = `${title}${n === null ? "" : ` ${n + 1}`}${unit}`;
      const least = rate || key === "draft" ? 0 : 1e-9;
      const most = rate ? 1 : 2 * Math.max(...(n === null ? [value] : start[key]), key === "draft" ? start.target / 10 : 0);
      const slider = make("input", { type: "range", min: rate ? 0 : least, max: most, step: "any", "aria-label": `${label}, slider` });
      const field = make("input", { type: "number", min: 0, step: "any", "aria-label": label, ...(rate ? { max: 1 } : {}) });
      slider.value = value;
      field.value = Number(value.toPrecision(4));
      const set = (changed) => {
        if (!Number.isFinite(changed) || changed < least || (rate && changed > 1)) return false;
        if (n === null) now[key] = changed;
        else now[key][n] = changed;
        update();
        return true;
      };
      slider.addEventListener("input", () => {
        const changed = Number(Number(slider.value).toPrecision(3));
        field.value = changed;
        field.removeAttribute("aria-invalid");
        set(changed);
      });
      field.addEventListener("input", () => {
        const valid = field.value !== "" && set(Number(field.value));
        if (valid) field.removeAttribute("aria-invalid");
        else field.setAttribute("aria-invalid", "true");
        slider.value = field.value;
      });
      return make("div", { class: "control" }, make("span", {}, name), slider, field);
    }

    function update() {
      const before = closedForm(start), after = closedForm(now);
      const times = ({ target, verify, draft }) => JSON.stringify([target, verify, draft]);
      const timed = given.timed || times(now) !== times(start);
      const speed = `${after.speedup[after.best].toFixed(3)}x`;
      part("finding").textContent = !timed ? "No times yet: the speedup is the accept length"
        : after.best ? `Depth ${after.best} is fastest${given.by}: ${speed}` : `Plain decoding is fastest${given.by}`;
      const at = before.best ? `depth ${before.best}, ${before.speedup[before.best].toFixed(3)}x` : "plain decoding";
      part("before").textContent = given.timed ? `Start: ${at}.` : "";
      if (!timed) after.best = null;
      part("curve").replaceChildren(curve(before.speedup, after.speedup, after.best));
      part("steps").replaceChildren(...after.speedup.map((value, k) => row(after, value, k)));
      const flag = (name, values) => `--${name} ${values.map((value) => Number(value.toPrecision(6))).join(",")}`;
      part("command").textContent = ["mtpsim quick", flag("target", [now.target]), flag("verify", now.verify),
        flag("draft", now.draft), flag("rates", now.rates)].join(" ");
    }

    function row(found, value, k) {
      const even = found.breakEven[k];
      const gain = k ? found.speedup[k] / found.speedup[k - 1] - 1 : 0;
      const verdict = found.best === null ? "no times" : stepVerdict(gain, given);
      const tone = { essential: "good", optional: "good", harmful: "bad" }[verdict] ?? "open";
      const time = (allowed) => (allowed > 0 ? short(allowed) : "none");
      const cells = k ? [
        make("td", {}, `${gain < 0 ? "" : "+"}${percent(gain, 1)}, `, make("span", { class: tone }, verdict)),
        make("td", {}, even.rate <= 1 ? even.rate.toFixed(3) : "none"),
        make("td", {}, time(even.verify)),
        make("td", {}, time(even.draft)),
      ] : ["-", "-", "-", "-"].map((text) => make("td", {}, text));
      return make("tr", k === found.best ? { class: "best" } : {},
        make("th", { scope: "row" }, `${k}`),
        make("td", {}, found.length[k].toFixed(3)),
        make("td", {}, short(found.time[k])),
        make("td", {}, `${value.toFixed(3)}x`), ...cells);
    }

    function short(value) {
      return `${Number(value.toPrecision(4))}`;
    }

    function percent(share, decimals) {
      return `${(100 * share).toFixed(decimals)}\u00a0%`;
    }

    function curve(before, after, best) {
      const [width, height, left, right, top, bottom] = [520, 290, 46, 14, 14, 44];
      const shown = [...before, ...after].filter(Number.isFinite);
      const low = Math.min(...shown, 1), high = Math.max(...shown);
      const size = (high - low || 1) / 4, power = 10 ** Math.floor(Math.log10(size));
      const step = power * [1, 2, 5, 10].find((m) => m * power >= size);
      const first = Math.floor(low / step), last = Math.ceil(high / step + 0.01);
      const x = (k) => left + (k + 0.3) / (after.length - 0.4) * (width - left - right);
      const y = (v) => top + (last - v / step) / (last - first) * (height - top - bottom);
      const chart = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "live",
        "aria-label": `Speedup by depth: ${after.map((v, k) => `${k}: ${v.toFixed(3)}`).join(", ")}` });
      for (let n = first; n <= last; n++) {
        chart.append(draw("line", { x1: left, x2: width - right, y1: y(n * step), y2: y(n * step), class: "grid" }));
        chart.append(draw("text", { x: left - 6, y: y(n * step) + 4, class: "end" }, `${Number((n * step).toPrecision(6))}`));
      }
      chart.append(draw("line", { x1: left, x2: width - right, y1: y(1), y2: y(1), class: "plain" }));
      const every = Math.ceil(after.length / 17);
      after.forEach((_, k) => {
        if (k % every === 0) chart.append(draw("text", { x: x(k), y: height - bottom + 18, class: "middle" }, `${k}`));
      });
      chart.append(draw("text", { x: (left + width - right) / 2, y: height - 6, class: "middle" }, "depth (drafts per round)"));
      chart.append(draw("text", { x: -(top + height - bottom) / 2, y: 11, class: "middle", transform: "rotate(-90)" },
        "speedup over plain decoding (x)"));
      const points = (values) => values.map((v, k) => `${x(k).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
      chart.append(draw("polyline", { points: points(before), class: "before-line" }));
      chart.append(draw("polyline", { points: points(after), class: "after-line" }));
      after.forEach((v, k) => chart.append(draw("circle", { cx: x(k), cy: y(v), r: 4, class: "dot" })));
      if (best !== null) chart.append(draw("circle", { cx: x(best), cy: y(after[best]), r: 9, class: "ring" }));
      return chart;
    }
  }
}
