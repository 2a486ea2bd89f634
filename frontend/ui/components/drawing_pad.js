// Streamlit calls the default export on every rerun. `pads` persists across reruns, and the session
// storage of the tab across reloads.
const pads = new WeakMap();
const STORAGE_KEY = "drawing";
const FINISHED_AFTER = 4000; // ms without a stroke

// An id survives undo and redo; Clear starts a new drawing.
const newId = () => Math.random().toString(36).slice(2);

function load() {
  const empty = { id: newId(), strokes: [], undone: [] };
  try {
    const saved = JSON.parse(sessionStorage.getItem(STORAGE_KEY));
    return saved?.strokes ? { ...empty, ...saved } : empty;
  } catch {
    return empty; // the browser may block storage
  }
}

function save(id, strokes, undone) {
  try {
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify({ id, strokes, undone }));
  } catch {}
}

const STEP = 8; // canvas pixels per arrow key; four times as many with Shift
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Pad {
  constructor(root, { id, strokes, undone }) {
    this.canvas = root.querySelector("canvas");
    this.pen = root.querySelector("input");
    this.live = root.querySelector(".live");
    this.buttons = [...root.querySelectorAll("button")];
    this.ink = this.canvas.getContext("2d", { willReadFrequently: true });
    this.id = id;
    this.strokes = strokes;
    this.undone = undone; // removed strokes, the next one to redo last
    if (strokes.length) this.pen.value = strokes.at(-1).width;
    this.stroke = null; // in progress
    this.pointer = null;
    this.held = null; // "down" while Space is held, "moved" after an arrow key meanwhile
    this.cursor = null; // [x, y] while drawing with the keyboard
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
        const [from, to] = [points[i - 1], points[i]]; // curves through the midpoints are smooth
        ink.quadraticCurveTo(...from, (from[0] + to[0]) / 2, (from[1] + to[1]) / 2);
      }
      const [x, y] = points.at(-1);
      ink.lineTo(x + 0.01, y); // a line of length 0 would draw no dot
      ink.stroke();
    }
    for (const button of this.buttons) {
      const strokes = button.dataset.act === "redo" ? this.undone : this.strokes;
      button.disabled = strokes.length === 0;
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
    clearTimeout(this.timer);
    this.stroke = { width: Number(this.pen.value), points: [point] };
    this.strokes.push(this.stroke);
    this.undone = [];
    this.paint();
  }

  end() {
    if (!this.stroke) return;
    this.stroke = this.pointer = this.held = null;
    this.update("Stroke added.");
  }

  update(message) {
    this.paint(); // without the cursor, which is not part of the drawing
    this.live.textContent = message;
    save(this.id, this.strokes, this.undone);
    const empty = this.strokes.length === 0;
    const drawing = { png: empty ? null : this.canvas.toDataURL("image/png"), id: this.id };
    this.send("drawing", drawing);
    clearTimeout(this.timer);
    const finish = () => this.send("drawing", { ...drawing, finished: true });
    if (!empty) this.timer = setTimeout(finish, FINISHED_AFTER);
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
      this.id = newId();
    }
    const message = { redo: "Stroke restored.", undo: "Last stroke removed." }[name];
    this.update(this.strokes.length ? message : "The pad is empty.");
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
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length ? moves : [event]) this.stroke.points.push(this.at(move));
    this.paint();
  }

  pointerup(event) {
    if (event.pointerId === this.pointer) this.end();
  }

  // Holding Space while moving draws; a tap on Space lowers the pen until the next tap.
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
    pad = new Pad(parentElement, load());
    const isOutdated = data.has_drawing !== pad.strokes.length > 0; // after a reload
    if (isOutdated) setTimeout(() => pad.update(pad.strokes.length ? "Drawing restored." : ""));
    pads.set(parentElement, pad);
    pad.listeners = new AbortController();
    const { signal } = pad.listeners;
    const on = (name, method = name) =>
      pad.canvas.addEventListener(name, (event) => pad[method](event), { signal });
    for (const name of ["pointerdown", "pointermove", "pointerup", "keydown", "keyup", "blur"]) on(name);
    on("pointercancel", "pointerup");
    for (const button of pad.buttons)
      button.addEventListener("click", () => pad.act(button.dataset.act), { signal });
  }
  pad.send = setStateValue;
  if (data.announcement && data.announcement !== pad.announcement) pad.live.textContent = data.announcement;
  pad.announcement = data.announcement;
  return () => {
    clearTimeout(pad.timer);
    pad.listeners.abort();
    pads.delete(parentElement);
  };
}
