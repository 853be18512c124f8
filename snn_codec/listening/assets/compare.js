"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
let player = null;

function strip(version, index) {
  const name = element("button", { click: () => listen(index) }, `${index + 1}  ${version.name}`);
  const cursor = element("i");
  const pictures = element(
    "div",
    {
      class: "strip",
      click: (event) => {
        const box = pictures.getBoundingClientRect();
        listen(index);
        player.seek(((event.clientX - box.left) / box.width) * player.buffers[0].duration);
      },
    },
    element("img", { src: version.spectrogram, alt: `Spectrogram of ${version.name}` }),
    ...DATA.ticks.map(([text, share]) => element("span", { style: `top: ${120 * (1 - share)}px` }, text)),
    ...(version.raster ? [element("img", { src: version.raster, class: "raster", alt: `Events of ${version.name}` })] : []),
    cursor,
  );
  const head = element("div", { class: "row" }, name, element("span", { class: "quiet" }, version.note));
  return { name, cursor, box: element("div", { class: "take" }, head, pictures) };
}

const strips = DATA.versions.map(strip);
const button = element("button", { class: "main wide", click: () => toggle() }, "Play");

function update() {
  button.textContent = player.playing ? "Pause" : "Play";
  strips.forEach(({ name }, index) => name.setAttribute("aria-pressed", player.selected === index));
}

function listen(index) {
  player.select(index);
  update();
}

function toggle() {
  if (player.playing) player.pause();
  else {
    player.context.resume();
    player.play();
  }
  update();
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const index = Number(event.key) - 1;
  if (event.key === " ") toggle();
  else if (index >= 0 && index < strips.length) listen(index);
  else if (!player.key(event.key)) return;
  event.preventDefault();
}

async function show() {
  const context = new AudioContext({ sampleRate: 48000 });
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  const buffers = await Promise.all(DATA.versions.map(({ audio }) => context.decodeAudioData(bytes(audio))));
  player = new Player(context, buffers);
  const canvas = element("canvas", { "aria-label": "The first version as a waveform; drag to repeat a part" });
  const keys = [["Space", "play, pause"], ["1 2 3 ...", "versions"], [", .", "repeat from, to here"], ["Esc", "repeat all"]];
  main.replaceChildren(
    element("header", {}, element("h1", {}, DATA.title)),
    canvas,
    element("div", { class: "row" }, button, element("button", { click: () => player.repeat() }, "Repeat all")),
    ...strips.map(({ box }) => box),
    hints(keys),
  );
  const timeline = new Timeline(canvas, player, buffers[0]);
  timeline.moved = (share) => strips.forEach(({ cursor }) => (cursor.style.left = `${100 * share}%`));
  document.addEventListener("keydown", key);
  update();
}

show().catch((error) => main.replaceChildren(element("p", {}, `The sounds cannot be played (${error.message}).`)));
