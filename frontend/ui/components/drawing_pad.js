// Streamlit calls the default export at every rerun; what outlives a rerun is kept here, and what
// outlives a reload in the tab's own storage.
const pads = new WeakMap();
const PLACE = "drawing";

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE)) ?? [];
  } catch {
    return []; // a browser may refuse to keep anything
  }
}

function remember(strokes) {
  try {
    sessionStorage.setItem(PLACE, JSON.stringify(strokes));
  } catch {}
}

const STEP = 8; // canvas pixels that an arrow key moves; with Shift four times as many
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Pad {
  constructor(root, strokes) {
    this.canvas = root.querySelector("canvas");
    this.pen = root.querySelector("input");
    this.live = root.querySelector(".live");
    this.buttons = [...root.querySelectorAll("button")];
    this.ink = this.canvas.getContext("2d", { willReadFrequently: true });
    this.strokes = strokes;
    this.undone = []; // to be done again, the last one first
    if (strokes.length) this.pen.value = strokes.at(-1).width;
    this.stroke = null; // the one being drawn
    this.pointer = null;
    this.held = null; // "down" while Space is held, "moved" once an arrow was pressed meanwhile
    this.cursor = null; // [x, y] while the keyboard draws
    this.paint();
  }

  paint() {
    const { ink, canvas } = this;
    ink.fillStyle = "#fff";
    ink.fillRect(0, 0, canvas.width, canvas.height);
    ink.strokeStyle = "#111";
    ink.lineCap = ink.lineJoin = "round";
    for (const { width, points } of this.strokes) {
      ink.lineWidth = width;
      ink.beginPath();
      ink.moveTo(...points[0]);
      for (let i = 1; i < points.length; i++) {
        const [from, to] = [points[i - 1], points[i]]; // curves through the middles are smooth
        ink.quadraticCurveTo(...from, (from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
      }
      const [x, y] = points.at(-1);
      ink.lineTo(x + 0.01, y); // a line of no length would leave no dot
      ink.stroke();
    }
    for (const button of this.buttons) {
      const there = button.dataset.act === "redo" ? this.undone : this.strokes;
      button.disabled = there.length === 0;
    }
  }

  paintCursor() {
    if (!this.cursor) return;
    const { ink } = this;
    const [x, y] = this.cursor;
    ink.lineWidth = 3;
    ink.strokeStyle = this.stroke ? "#dc2626" : "#2563eb";
    ink.beginPath();
    ink.arc(x, y, Math.max(8, this.pen.value / 2), 0, 2 * Math.PI);
    ink.stroke();
  }

  begin(point) {
    this.stroke = { width: Number(this.pen.value), points: [point] };
    this.strokes.push(this.stroke);
    this.undone = [];
    this.paint();
  }

  end() {
    if (!this.stroke) return;
    this.stroke = this.pointer = this.held = null;
    this.tell("Stroke added.");
  }

  tell(what) {
    this.paint(); // without the cursor, which is no part of the drawing
    this.live.textContent = what;
    remember(this.strokes);
    const empty = this.strokes.length === 0;
    this.send("drawing", { png: empty ? null : this.canvas.toDataURL("image/png") });
    this.paintCursor();
  }

  act(name) {
    this.stroke = null;
    if (name === "redo") {
      this.strokes.push(this.undone.pop());
    } else if (name === "undo") {
      this.undone.push(this.strokes.pop());
    } else {
      this.undone = this.strokes.reverse();
      this.strokes = [];
    }
    const said = { redo: "Stroke drawn again.", undo: "Last stroke removed." }[name];
    this.tell(this.strokes.length ? said : "The pad is empty.");
    this.canvas.focus({ preventScroll: true }); // the button may just have been disabled
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      Math.round(((event.clientX - box.left) * this.canvas.width) / box.width),
      Math.round(((event.clientY - box.top) * this.canvas.height) / box.height),
    ];
  }

  pointerdown(event) {
    if (event.button || this.stroke) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.cursor = null;
    this.begin(this.at(event));
  }

  pointermove(event) {
    if (event.pointerId !== this.pointer || !this.stroke) return;
    const parts = event.getCoalescedEvents?.() ?? [];
    for (const part of parts.length ? parts : [event]) this.stroke.points.push(this.at(part));
    this.paint();
  }

  pointerup(event) {
    if (event.pointerId === this.pointer) this.end();
  }

  // Space held while the arrows move draws; Space tapped puts the pen down until the next tap.
  keydown(event) {
    const { width, height } = this.canvas;
    const shortcut = event.ctrlKey || event.metaKey ? event.key.toLowerCase() : "";
    if (shortcut === "y" || shortcut === "z") {
      event.preventDefault();
      const name = shortcut === "y" || event.shiftKey ? "redo" : "undo";
      if (!this.buttons.find((button) => button.dataset.act === name).disabled) this.act(name);
    } else if (event.key === " ") {
      event.preventDefault();
      if (event.repeat || this.pointer !== null) return;
      this.cursor ??= [width / 2, height / 2];
      if (this.stroke) return this.end();
      this.held = "down";
      this.begin([...this.cursor]);
      this.paintCursor();
    } else if (event.key === "Escape") {
      this.end();
    } else if (event.key in MOVES) {
      event.preventDefault();
      this.cursor ??= [width / 2, height / 2];
      const step = event.shiftKey ? 4 * STEP : STEP;
      const [dx, dy] = MOVES[event.key];
      this.cursor[0] = Math.min(width, Math.max(0, this.cursor[0] + dx * step));
      this.cursor[1] = Math.min(height, Math.max(0, this.cursor[1] + dy * step));
      if (this.stroke) this.stroke.points.push([...this.cursor]);
      if (this.held) this.held = "moved";
      this.paint();
      this.paintCursor();
    }
  }

  keyup(event) {
    if (event.key !== " ") return;
    if (this.held === "moved") this.end();
    this.held = null;
  }

  blur() {
    this.end();
    this.cursor = null;
    this.paint();
  }
}

export default function ({ parentElement, setStateValue, data }) {
  let pad = pads.get(parentElement);
  if (!pad) {
    pad = new Pad(parentElement, recall());
    const isNews = data.drawn !== pad.strokes.length > 0; // as after a reload
    if (isNews) setTimeout(() => pad.tell(pad.strokes.length ? "Your drawing is back." : ""));
    pads.set(parentElement, pad);
    pad.leaving = new AbortController();
    const { signal } = pad.leaving;
    const on = (name, as = name) =>
      pad.canvas.addEventListener(name, (event) => pad[as](event), { signal });
    for (const name of ["pointerdown", "pointermove", "pointerup", "keydown", "keyup", "blur"]) on(name);
    on("pointercancel", "pointerup");
    for (const button of pad.buttons)
      button.addEventListener("click", () => pad.act(button.dataset.act), { signal });
  }
  pad.send = setStateValue;
  if (data.says && data.says !== pad.said) pad.live.textContent = data.says;
  pad.said = data.says;
  return () => {
    pad.leaving.abort();
    pads.delete(parentElement);
  };
}
