"use strict";

const FADE = 0.005; // seconds: switching, looping, starting and stopping

/* A gain that moves in straight lines of FADE seconds, also when told again in the middle of one. */
class Ramp {
  constructor(param, value) {
    this.param = param;
    this.from = this.to = value;
    this.time = -FADE;
    param.setValueAtTime(value, 0);
  }

  at(time) {
    const share = Math.min(Math.max((time - this.time) / FADE, 0), 1);
    return this.from + (this.to - this.from) * share;
  }

  go(value, time) {
    const now = this.at(time);
    this.param.cancelScheduledValues(time);
    this.param.linearRampToValueAtTime(now, time); // the line that was cut short, or a pause
    this.param.linearRampToValueAtTime(value, time + FADE);
    Object.assign(this, { from: now, to: value, time });
  }
}

/* Versions of one recording, all playing at once from one start: to switch is to move two gains.

   The loop's fades are a sound too: it is played beside the versions, in the same loop, into the gain that they
   share, so that they stay sample-synchronous however long it goes on. Times are seconds; `when` is the context's. */
class Player {
  constructor(context, buffers, destination = context.destination) {
    this.context = context;
    this.buffers = buffers;
    this.loop = [0, buffers[0].duration];
    this.selected = 0;
    this.offset = 0; // where it stands while it does not play
    this.sources = [];
    this.seam = context.createGain();
    this.seam.gain.value = 0;
    this.gate = context.createGain();
    this.seam.connect(this.gate).connect(destination);
    this.opening = new Ramp(this.gate.gain, 0);
    this.gains = buffers.map((_, index) => {
      const gain = context.createGain();
      gain.connect(this.seam);
      return { node: gain, ramp: new Ramp(gain.gain, index === 0 ? 1 : 0) };
    });
  }

  get playing() {
    return this.sources.length > 0;
  }

  /* Soon enough to be at once, late enough that the audio thread has not passed it: else a ramp would begin in its
     middle. */
  soon() {
    return this.context.currentTime + Math.max(0.015, this.context.baseLatency || 0);
  }

  play(when = this.soon()) {
    if (this.playing) return;
    when = Math.max(when, this.opening.time + FADE); // after what was paused has faded
    const [start, end] = this.loop;
    if (this.offset < start || this.offset >= end - FADE) this.offset = start;
    const source = (buffer, target) => {
      const node = new AudioBufferSourceNode(this.context, { buffer, loop: true, loopStart: start, loopEnd: end });
      node.connect(target);
      node.start(when, this.offset);
      return node;
    };
    this.sources = this.buffers.map((buffer, index) => source(buffer, this.gains[index].node));
    this.sources.push(source(this.envelope(), this.seam.gain));
    this.began = when;
    this.opening.go(1, when);
  }

  pause(when = this.soon()) {
    if (!this.playing) return;
    this.offset = this.position(when);
    this.opening.go(0, when);
    this.sources.forEach((source) => source.stop(when + FADE));
    this.sources = [];
  }

  select(index, when = this.soon()) {
    if (index === this.selected) return;
    this.selected = index;
    // all of them, so that they always add up to 1, also in the middle of another switch
    this.gains.forEach(({ ramp }, other) => ramp.go(other === index ? 1 : 0, when));
  }

  /* Where in the recording it is. */
  position(when = this.context.currentTime) {
    if (!this.playing) return this.offset;
    const [start, end] = this.loop;
    const gone = this.offset + Math.max(when - this.began, 0);
    return gone < end ? gone : start + ((gone - start) % (end - start));
  }

  /* Go on from there. */
  seek(offset) {
    this.restart(() => (this.offset = Math.min(Math.max(offset, this.loop[0]), this.loop[1] - FADE)));
  }

  /* Repeat only this part, whole samples of at least half a second; without one, everything. */
  repeat(start = 0, end = Infinity) {
    const rate = this.context.sampleRate;
    const length = this.buffers[0].length;
    const shortest = Math.min(Math.round(rate / 2), length);
    const first = Math.min(Math.max(Math.round(start * rate), 0), length - shortest);
    const last = Math.max(Math.min(Math.round(end * rate), length), first + shortest);
    this.restart(() => (this.loop = [first / rate, last / rate]));
  }

  /* Loop by key: from here, to here, everything; whether it was one of those. */
  key(name) {
    if (name === ",") this.repeat(this.position(), this.loop[1]);
    else if (name === ".") this.repeat(this.loop[0], this.position());
    else if (name === "Escape") this.repeat();
    else return false;
    return true;
  }

  restart(change) {
    const playing = this.playing;
    const when = this.soon();
    this.pause(when);
    change();
    if (playing) this.play(when + FADE);
  }

  /* 1 inside the loop, in 5 ms from 0 and to 0 at its ends. */
  envelope() {
    const { context, buffers, loop } = this;
    const buffer = context.createBuffer(1, buffers[0].length, context.sampleRate);
    const values = buffer.getChannelData(0);
    const [first, last] = loop.map((time) => Math.round(time * context.sampleRate));
    const fade = FADE * context.sampleRate;
    for (let index = first; index < last; index++) {
      values[index] = Math.min(1, (index - first) / fade, (last - 1 - index) / fade);
    }
    return buffer;
  }
}

/* A picture of the sound under a cursor; dragging makes a loop, a click goes there. */
class Timeline {
  constructor(canvas, player, buffer) {
    Object.assign(this, { canvas, player, buffer });
    this.drag = null;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.drag = [this.time(event), this.time(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.drag) this.drag[1] = this.time(event);
    });
    canvas.addEventListener("pointerup", () => {
      if (!this.drag) return;
      const [start, end] = this.drag.sort((a, b) => a - b);
      this.drag = null;
      if (end - start < 0.01 * buffer.duration) player.seek(start);
      else player.repeat(start, end);
    });
    canvas.addEventListener("pointercancel", () => (this.drag = null));
    this.draw();
  }

  close() {
    cancelAnimationFrame(this.frame);
  }

  time(event) {
    const box = this.canvas.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    return share * this.buffer.duration;
  }

  /* Lowest and highest value in each pixel, computed when the width changes. */
  peaks(width) {
    if (this.cached?.width === width) return this.cached.pairs;
    const samples = this.buffer.getChannelData(0);
    const pairs = [];
    let most = 1e-6;
    for (let x = 0; x < width; x++) {
      let low = 0;
      let high = 0;
      const stop = Math.floor(((x + 1) * samples.length) / width);
      for (let index = Math.floor((x * samples.length) / width); index < stop; index++) {
        if (samples[index] < low) low = samples[index];
        if (samples[index] > high) high = samples[index];
      }
      most = Math.max(most, -low, high);
      pairs.push([low, high]);
    }
    this.cached = { width, pairs: pairs.map((pair) => pair.map((value) => value / most)) };
    return this.cached.pairs;
  }

  draw() {
    this.frame = requestAnimationFrame(() => this.draw());
    const scale = window.devicePixelRatio || 1;
    const width = Math.round(this.canvas.clientWidth * scale);
    const height = Math.round(this.canvas.clientHeight * scale);
    const [start, end] = this.drag ? [...this.drag].sort((a, b) => a - b) : this.player.loop;
    const position = this.player.position();
    const shown = [width, height, start, end, position].join();
    if (shown === this.shown) return;
    this.shown = shown;
    Object.assign(this.canvas, { width, height });
    const context = this.canvas.getContext("2d");
    const x = (time) => (time / this.buffer.duration) * width;
    context.fillStyle = "#fbe9e3";
    context.fillRect(x(start), 0, x(end) - x(start), height);
    this.peaks(width).forEach(([low, high], column) => {
      context.fillStyle = column >= x(start) && column < x(end) ? "#52606d" : "#b8c2cc";
      const top = ((1 - 0.92 * high) * height) / 2;
      context.fillRect(column, top, 1, Math.max(1, ((1 - 0.92 * low) * height) / 2 - top));
    });
    context.fillStyle = "#b4482f";
    context.fillRect(x(position) - scale, 0, 2 * scale, height);
    this.moved?.(position / this.buffer.duration);
  }
}

/* An element with attributes and children; functions become listeners. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function hints(keys) {
  const one = ([key, what]) => element("span", {}, element("kbd", {}, key), ` ${what}`);
  return element("p", { class: "quiet keys" }, ...keys.flatMap((key) => [one(key), " "]));
}
