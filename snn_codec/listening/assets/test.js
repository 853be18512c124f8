"use strict";

const TEST = JSON.parse(document.getElementById("data").textContent);
const LABELS = ["Excellent", "Good", "Fair", "Poor", "Bad"];
const QUESTIONS = [
  ["playback", "You listen with", ["headphones", "loudspeakers"]],
  ["experience", "Your experience with sound", ["none", "music", "listening tests"]],
];
const LONGEST = 24 * 3600 * 1000; // ms on one page, as the server has it
const main = document.getElementById("main");
const letter = (index) => String.fromCharCode(65 + index);

/* Everything that a reload must not lose. */
const memory = {
  name: `listen:${TEST.id}`,
  load() {
    try {
      return JSON.parse(localStorage.getItem(this.name)) || { page: "welcome" };
    } catch {
      return { page: "welcome" };
    }
  },
  save() {
    try {
      localStorage.setItem(this.name, JSON.stringify(state));
    } catch {
      // private windows may refuse; the test goes on without
    }
  },
};
let state = memory.load();
let trial = null; // what is on the page, if it plays
let audio = null;

function output() {
  if (!audio) {
    const context = new AudioContext({ sampleRate: 48000 });
    const volume = context.createGain();
    volume.connect(context.destination);
    audio = { context, volume };
  }
  audio.volume.gain.value = 10 ** ((state.volume ?? 0) / 20);
  return audio;
}

async function request(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(content.error || answer.statusText), { status: answer.status });
  return content;
}

/* One item: its reference and versions, to be heard and rated; `next` says what comes when all are. */
class Trial {
  constructor(planned, scores, next) {
    Object.assign(this, { planned, scores, next, versions: planned.versions, heard: new Set() });
    this.box = element("div", { class: "trial" });
    this.begin();
  }

  begin() {
    this.box.replaceChildren(element("p", { class: "quiet" }, "Loading sounds ..."));
    this.load().then(
      () => this.closed || this.show(),
      (error) =>
        this.box.replaceChildren(
          element("p", {}, `The sounds did not come (${error.message}).`),
          element("button", { class: "main", click: () => this.begin() }, "Try again"),
        ),
    );
  }

  async load() {
    const { context, volume } = output();
    const buffers = await Promise.all(
      [this.planned.reference, ...this.versions].map(async (name) => {
        const answer = await fetch(`audio/${name}.wav`);
        if (!answer.ok) throw new Error(answer.statusText);
        return context.decodeAudioData(await answer.arrayBuffer());
      }),
    );
    this.player = new Player(context, buffers, volume);
  }

  close() {
    this.closed = true;
    this.player?.pause();
    this.timeline?.close();
  }

  show() {
    const canvas = element("canvas", { "aria-label": "The reference as a waveform; drag to repeat a part" });
    this.button = element("button", { class: "main wide", click: () => this.toggle() }, "Play");
    this.reference = element("button", { class: "wide", click: () => this.listen(0) }, "Reference");
    const whole = element("button", { click: () => this.player.repeat() }, "Repeat all");
    this.columns = this.versions.map((version, index) => this.column(version, index));
    this.missing = element("span", { class: "quiet", role: "status" });
    this.leave = element("button", { class: "main next", click: () => this.next.go() }, this.next.label);
    this.box.replaceChildren(
      canvas,
      element("div", { class: "row" }, this.button, this.reference, whole),
      element(
        "div",
        { class: "rating" },
        element("div", { class: "scale", "aria-hidden": "true" }, ...LABELS.map((label) => element("span", {}, label))),
        element("div", { class: "versions" }, element("div", { class: "bands" }), ...this.columns.map((c) => c.box)),
      ),
      element("div", { class: "row" }, this.missing, element("span", { class: "push" }, this.leave)),
    );
    this.timeline = new Timeline(canvas, this.player, this.player.buffers[0]);
    this.update();
  }

  column(version, index) {
    const name = letter(index);
    const button = element("button", { "aria-label": `Version ${name}`, click: () => this.listen(index + 1) }, name);
    const rate = () => {
      this.scores[version] = Number(slider.value);
      memory.save();
      this.update();
    };
    const slider = element("input", {
      type: "range", min: 0, max: 100, step: 1, value: this.scores[version] ?? 50, class: "score",
      "aria-label": `Score of version ${name}`,
      pointerdown: () => this.listen(index + 1, false),
      focus: () => this.listen(index + 1, false),
      input: rate,
      click: rate,
    });
    const shown = element("output");
    return { button, slider, shown, box: element("div", { class: "version" }, button, slider, shown) };
  }

  toggle() {
    if (this.player.playing) this.player.pause();
    else {
      audio.context.resume();
      this.player.play();
      this.heard.add(this.player.selected);
    }
    this.update();
  }

  listen(index, focus = true) {
    this.player.select(index);
    if (this.player.playing) this.heard.add(index);
    if (focus) (index ? this.columns[index - 1].slider : this.reference).focus({ preventScroll: true });
    this.update();
  }

  update() {
    this.button.textContent = this.player.playing ? "Pause" : "Play";
    this.reference.setAttribute("aria-pressed", this.player.selected === 0);
    const left = { "listen to": [], rate: [] };
    this.columns.forEach(({ button, slider, shown }, index) => {
      const score = this.scores[this.versions[index]];
      button.setAttribute("aria-pressed", this.player.selected === index + 1);
      button.classList.toggle("heard", this.heard.has(index + 1));
      slider.classList.toggle("rated", score !== undefined);
      slider.setAttribute("aria-valuetext", score === undefined ? "not rated" : `${score}, ${label(score)}`);
      shown.textContent = score ?? "–";
      if (!this.heard.has(index + 1)) left["listen to"].push(letter(index));
      if (score === undefined) left.rate.push(letter(index));
    });
    const todo = Object.entries(left).filter(([, letters]) => letters.length);
    this.leave.disabled = todo.length > 0;
    this.missing.textContent = todo.length
      ? `To do: ${todo.map(([what, letters]) => `${what} ${letters.join(", ")}`).join("; ")}`
      : "";
  }

  key(event) {
    if (!this.player || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const index = key.length === 1 ? key.charCodeAt(0) - 97 : -1;
    if (key === " " && !event.target.classList.contains("next")) this.toggle();
    else if (key === "r") this.listen(0);
    else if (index >= 0 && index < this.versions.length) this.listen(index + 1);
    else if (!this.player.key(event.key)) return;
    event.preventDefault();
  }
}

const label = (score) => LABELS[4 - Math.min(4, Math.floor(score / 20))];

const pages = {
  welcome() {
    const answers = {};
    const begin = element("button", { class: "main", disabled: true, click: () => start(begin, answers) }, "Begin");
    const fields = QUESTIONS.map(([name, question, options]) =>
      element(
        "fieldset",
        {},
        element("legend", {}, question),
        ...options.map((value) => {
          const change = () => {
            answers[name] = value;
            begin.disabled = QUESTIONS.some(([other]) => !answers[other]);
          };
          return element("label", {}, element("input", { type: "radio", name, value, change }), ` ${value}`);
        }),
      ),
    );
    return [
      element("h2", {}, "How alike do they sound?"),
      element("p", {}, "You will hear a recording, the reference, and several versions of it. Say how good each version is, where good means: like the reference. Any difference that you hear counts, whether you like it or not."),
      element("p", {}, "One of the versions is the reference itself: it should get 100. Others are much worse."),
      element("p", {}, "Listen in a quiet place. You can close this page and come back to it later."),
      ...fields,
      begin,
    ];
  },

  training() {
    const place = element("div");
    const number = element("span");
    const count = state.trials.length;
    let item = 0;
    const show = (step) => {
      item = (item + step + count) % count;
      number.textContent = `Recording ${item + 1} of ${count}`;
      const { reference, versions } = state.trials[count - 1 - item];
      const shuffled = versions.map((name) => [Math.random(), name]).sort().map(([, name]) => name);
      trial?.close();
      trial = new Trial({ reference, versions: shuffled }, {}, { label: "Start the test", go: () => go("test", { index: 0 }) });
      place.replaceChildren(trial.box);
    };
    const volume = element("input", {
      type: "range", min: -30, max: 0, step: 0.5, value: state.volume ?? 0, id: "volume",
      input: (event) => {
        state.volume = Number(event.target.value);
        output();
        memory.save();
      },
    });
    show(0);
    return [
      element("h2", {}, "Training"),
      element("p", {}, "Nothing here is kept. Find a volume that you can stay with, and learn what the differences sound like. Press Play, switch between the reference and the versions while it plays, and set a slider for each. Drag in the picture to repeat a part."),
      element(
        "div",
        { class: "row" },
        element("label", { for: "volume" }, "Volume "),
        volume,
        element(
          "span",
          { class: "row push" },
          number,
          element("button", { "aria-label": "Recording before", click: () => show(-1) }, "‹"),
          element("button", { "aria-label": "Recording after", click: () => show(1) }, "›"),
        ),
      ),
      place,
      keys(),
    ];
  },

  test() {
    const { index, trials, results } = state;
    const began = performance.now();
    const next = {
      label: index + 1 < trials.length ? "Next" : "Finish",
      go: () => {
        results[index].time = Math.min(LONGEST, Math.round(results[index].time + performance.now() - began));
        go(index + 1 < trials.length ? "test" : "sending", { index: index + 1 });
      },
    };
    trial = new Trial(trials[index], results[index].scores, next);
    return [
      element("div", { class: "bar" }, element("div", { style: `width: ${(100 * index) / trials.length}%` })),
      element("p", {}, "How like the reference is each version? One of them is the reference itself."),
      trial.box,
      keys(),
    ];
  },

  sending() {
    const said = element("p", { role: "status" }, "Sending your ratings ...");
    const again = element("button", { class: "main", hidden: true, click: () => send() }, "Send again");
    const send = async () => {
      again.hidden = true;
      const { session, listener, results } = state;
      try {
        await request("api/results", { session, listener, trials: results });
        go("done");
      } catch (error) {
        if (error.status === 409) return go("done");
        said.textContent = `Your ratings could not be sent (${error.message}). They are kept in this browser: leave the page open, or come back later.`;
        again.hidden = false;
      }
    };
    send();
    return [element("h2", {}, "Almost done"), said, again];
  },

  done() {
    const renew = () => {
      state = { page: "welcome" };
      go("welcome");
    };
    return [
      element("h2", {}, "Thank you"),
      element("p", {}, "Your ratings are stored. You can close this page."),
      element("button", { click: renew }, "Another listener"),
    ];
  },
};

const keys = () =>
  hints([["Space", "play, pause"], ["R", "reference"], ["A B C ...", "versions"], ["↑ ↓", "score"],
    [", .", "repeat from, to here"], ["Esc", "repeat all"]]);

async function start(button, listener) {
  button.disabled = true;
  output();
  try {
    const { session, trials } = await request("api/session", {});
    go("training", { session, trials, listener, results: trials.map(() => ({ scores: {}, time: 0 })) });
  } catch (error) {
    button.disabled = false;
    button.after(element("p", {}, `The test could not begin (${error.message}).`));
  }
}

function go(page, changes = {}) {
  Object.assign(state, changes, { page });
  memory.save();
  render();
}

function render() {
  trial?.close();
  trial = null;
  const content = pages[state.page]();
  const where = state.page === "test" ? `Item ${state.index + 1} of ${state.trials.length}` : "";
  main.replaceChildren(
    element("header", {}, element("h1", {}, "Listening test"), element("span", { class: "quiet" }, where)),
    ...content,
  );
  window.scrollTo(0, 0);
}

document.addEventListener("keydown", (event) => trial?.key(event));
render();
