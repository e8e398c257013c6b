/* Controls without a kernel: a choice finds its state, whose parts were drawn when the site was built.
   How the states are packed: embag_edu/web/controls.py. */
(() => {
  "use strict";
  const REST = 300; // milliseconds after the last move until its sentence is said
  const packs = {}, arrived = {};
  window.embagControl = async (name, data) =>
    arrived[name](unfold(typeof data === "string" ? await unpacked(data) : data));

  async function unpacked(text) { // gzip in base64: see `compressed` in controls.py
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function unfold(data) {
    const follow = (old, [front, end, ...between]) =>
      [...old.slice(0, front), ...between, ...old.slice(old.length - end)];
    const states = new Map(), at = data.sizes.map(() => 0);
    let lists = [[], [], []], number = 0;
    for (;;) {
      const rising = data.rising.map((k) => at[k]);
      if (rising.every((value, k) => k === 0 || rising[k - 1] <= value)) {
        const [box, ...changes] = data.states[number++];
        lists = lists.map((list, k) => follow(list, changes[k]));
        states.set(at.join(), [data.boxes[box], ...lists]);
      }
      let k = at.length - 1; // the last axis runs fastest
      while (k >= 0 && ++at[k] === data.sizes[k]) at[k--] = 0;
      if (k < 0) break;
    }
    const parts = (numbers) => numbers.map((n) => data.parts[n]);
    return {
      rising: data.rising,
      at(key) {
        const [box, svg, words, told] = states.get(key);
        return { box, svg: parts(svg).join(""), words: parts(words).join(" "), told: parts(told) };
      },
    };
  }

  function load(figure) { // a script, not fetch: a page that is opened from a folder may not fetch
    const { control: name, states } = figure.dataset;
    return packs[name] ||= new Promise((ready, fail) => {
      arrived[name] = ready;
      const script = document.createElement("script");
      script.src = states;
      script.onerror = () => {
        delete packs[name]; // the next move tries again
        fail(new Error(`${states} could not be loaded.`));
      };
      document.head.append(script);
    });
  }

  const range = (field) => field.querySelector("input[type=range]");
  function place(field) { // of the chosen value
    const input = field.querySelector("input[type=range], input[type=checkbox], input:checked");
    return input.type === "checkbox" ? +input.checked : +input.value;
  }
  function label(field) {
    const input = range(field);
    if (!input) return;
    const text = input.dataset.labels.split("|")[input.value];
    input.setAttribute("aria-valuetext", text);
    field.querySelector(".e-value").textContent = text;
  }
  function push(fields, rising, moved) { // one that may not decrease takes its neighbors along
    if (!rising.includes(moved)) return;
    const value = place(fields[moved]);
    for (const k of rising) {
      const input = range(fields[k]);
      input.value = k > moved ? Math.max(input.value, value) : Math.min(input.value, value);
      label(fields[k]);
    }
  }
  const sentences = (text) => text.split(/\. /).map((s) => s.replace(/\.?$/, "."));

  function start(figure) {
    const fields = [...figure.querySelectorAll(".e-field")];
    const svg = figure.querySelector("svg"), words = figure.querySelector(".e-words p");
    const told = figure.querySelector(".e-told"), heard = told.classList.contains("e-heard");
    let timer = 0, said = heard ? sentences(words.textContent) : [...told.children].map((s) => s.textContent);

    function say(state) { // what has changed; lines that are seen stay, and those that are new stand out
      const now = heard ? sentences(state.words) : state.told;
      const lines = heard ? now.filter((line) => !said.includes(line)) : now;
      told.replaceChildren(...lines.map((line) => {
        const span = document.createElement("span");
        span.textContent = `${line} `;
        span.classList.toggle("e-same", !heard && said.includes(line));
        return span;
      }));
      said = now;
    }
    async function draw(event) {
      const moved = fields.findIndex((field) => field.contains(event.target));
      label(fields[moved]);
      clearTimeout(timer);
      try {
        const pack = await load(figure);
        push(fields, pack.rising, moved);
        const state = pack.at(fields.map(place).join()), [, , wide, high] = state.box;
        svg.setAttribute("viewBox", state.box.join(" "));
        svg.setAttribute("width", Math.round((wide * 80) / 72));
        svg.setAttribute("height", Math.round((high * 80) / 72));
        svg.setAttribute("aria-label", state.words);
        svg.innerHTML = state.svg;
        words.textContent = state.words;
        clearTimeout(timer);
        timer = setTimeout(say, REST, state);
      } catch (error) {
        told.classList.remove("e-heard");
        told.textContent = error.message;
      }
    }
    let before = []; // A finger that scrolls the page may begin on a slider: what it moved goes back.
    const back = (field, k) => {
      if (!range(field)) return;
      range(field).value = before[k];
      label(field);
    };
    figure.addEventListener("pointerdown", () => { before = fields.map((field) => range(field)?.value); });
    figure.addEventListener("pointercancel", (event) => {
      fields.forEach(back);
      draw(event);
    });
    const early = () => load(figure).catch(() => {}); // an error is told at the first move
    figure.addEventListener("input", draw);
    figure.addEventListener("pointerenter", early, { once: true });
    figure.addEventListener("focusin", early, { once: true });
    figure.classList.add("e-live");
  }
  const all = () => document.querySelectorAll(".embag-control").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
