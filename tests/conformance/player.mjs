// Recordings in a browser's own player: <audio> and <video> of a headless Chromium over a running service. What is
// played is made here: a WAV by hand, a film by the browser's recorder.
//   EVENKEEL_BIN=PROGRAM node --test tests/conformance/player.mjs
// Needs Chromium (EVENKEEL_CHROMIUM, else /usr/bin/chromium) and services/dashboard's node_modules (npm ci there).
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

const require = createRequire(new URL("../../services/dashboard/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PROGRAM = process.env.EVENKEEL_BIN ?? "evenkeel";
const CHROMIUM = process.env.EVENKEEL_CHROMIUM ?? "/usr/bin/chromium";
/** How long a browser may take to show what must come, ms. */
const DEADLINE_MS = 60_000;
const RATE = 8_000;
const BYTES_A_SECOND = RATE * 2;
const HEADER_BYTES = 44;

/** A tone of so many seconds, 16-bit PCM. */
function wav(seconds) {
  const data = seconds * BYTES_A_SECOND;
  const file = Buffer.alloc(HEADER_BYTES + data);
  file.write("RIFF", 0);
  file.writeUInt32LE(36 + data, 4);
  file.write("WAVEfmt ", 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20); // PCM
  file.writeUInt16LE(1, 22); // channels
  file.writeUInt32LE(RATE, 24);
  file.writeUInt32LE(BYTES_A_SECOND, 28);
  file.writeUInt16LE(2, 32); // bytes a sample
  file.writeUInt16LE(16, 34); // bits
  file.write("data", 36);
  file.writeUInt32LE(data, 40);
  for (let n = 0; n < seconds * RATE; n++) {
    file.writeInt16LE(Math.round(8_000 * Math.sin((2 * Math.PI * 440 * n) / RATE)), HEADER_BYTES + 2 * n);
  }
  return file;
}

const world = {};

/** Starts the service on free ports; answers where its ingest is. */
async function serve() {
  const dir = mkdtempSync(join(tmpdir(), "evenkeel-player-"));
  const sets = ["ingest.listen", "gateway.listen", "process.admin.listen"];
  const args = ["run", "--data-dir", join(dir, "data"), ...sets.flatMap((key) => ["--set", `${key}=127.0.0.1:0`])];
  const service = spawn(PROGRAM, args, { stdio: ["ignore", "pipe", "inherit"] });
  world.ends = [() => rmSync(dir, { recursive: true, force: true }), () => service.kill()];
  for await (const line of createInterface({ input: service.stdout })) {
    const found = /^ingest +(http:\/\/[0-9.:]+)\//.exec(line);
    if (found) {
      service.stdout.resume();
      return found[1];
    }
  }
  throw new Error(`${PROGRAM} run ended before it served`);
}

before(async () => {
  world.origin = await serve();
  world.browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--mute-audio", "--autoplay-policy=no-user-gesture-required"],
  });
});

after(async () => {
  await world.browser?.close();
  for (const end of (world.ends ?? []).reverse()) end();
});

const urlOf = (id) => `${world.origin}/v1/streams/imu%2F7/recordings/${id}`;

async function upload(method, id, headers, body) {
  const answer = await fetch(urlOf(id), { method, headers, body });
  assert.ok(answer.ok, `${method}: ${answer.status} ${await answer.text()}`);
}

/** A page of the service's origin with a player, and what the player is answered. */
async function player(element) {
  const page = await world.browser.newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  const answers = [];
  page.on("response", (response) => {
    if (!response.url().includes("/recordings/")) return;
    const headers = response.headers();
    answers.push({ status: response.status(), asked: response.request().headers().range, range: headers["content-range"] });
  });
  const body = `<!doctype html><title>player</title><${element} id="player" muted></${element}>`;
  await page.route("**/player", (route) => route.fulfill({ contentType: "text/html", body }));
  await page.goto(`${world.origin}/player`);
  return { page, answers };
}

const load = (page, url) =>
  page.evaluate((src) => {
    const element = document.getElementById("player");
    element.preload = "metadata";
    element.src = src;
  }, url);

/** Waits for a condition on the player, given as the text of an expression over `p`. */
const until = (page, condition) =>
  page.waitForFunction((text) => {
    const p = document.getElementById("player");
    if (p.error) throw new Error(`the player: ${p.error.message}`);
    return new Function("p", `return ${text}`)(p);
  }, condition);

const play = (page, rate) =>
  page.evaluate(async (playbackRate) => {
    const element = document.getElementById("player");
    element.playbackRate = playbackRate;
    await element.play();
  }, rate);

test("a recording is sought by ranges and played to its end", async () => {
  const seconds = 900;
  await upload("PUT", "tone", { "content-type": "audio/wav" }, wav(seconds));
  const { page, answers } = await player("audio");
  await load(page, urlOf("tone"));
  await until(page, `p.readyState >= 1 && Math.abs(p.duration - ${seconds}) < 0.5`);
  await page.evaluate((to) => (document.getElementById("player").currentTime = to), seconds - 4);
  await until(page, `!p.seeking && p.readyState >= 2 && p.currentTime >= ${seconds - 4}`);
  await play(page, 1);
  await until(page, "p.ended");
  const middle = HEADER_BYTES + (seconds / 2) * BYTES_A_SECOND;
  const sought = answers.filter(({ status, range }) => status === 206 && Number(/\d+/.exec(range)?.[0]) > middle);
  assert.ok(sought.length > 0, `no range behind the middle was asked for: ${JSON.stringify(answers)}`);
  await page.close();
});

test("a recording is played while it still arrives", async () => {
  const [seconds, first] = [60, 20];
  const file = wav(seconds);
  const cut = HEADER_BYTES + first * BYTES_A_SECOND;
  await upload("PUT", "live", { "content-type": "audio/wav", "upload-complete": "?0" }, file.subarray(0, cut));
  const { page, answers } = await player("audio");
  await load(page, urlOf("live"));
  await play(page, 4);
  await until(page, "p.currentTime > 5 && !p.paused");
  // What is here is played, but for a block that the browser waits to be whole; nothing has ended.
  await until(page, `p.currentTime > ${first - 6} && p.readyState < 3`);
  assert.equal(await page.evaluate(() => document.getElementById("player").ended), false);
  const head = await fetch(urlOf("live"), { method: "HEAD" });
  assert.equal(head.headers.get("upload-complete"), "?0");
  await upload("PATCH", "live", { "upload-offset": String(cut) }, file.subarray(cut));
  await until(page, `p.ended && Math.abs(p.currentTime - ${seconds}) < 1`);
  assert.ok(answers.length > 0 && answers.every(({ status }) => status === 200 || status === 206));
  await page.close();
});

test("a film is played, and opened by its address", async () => {
  const { page } = await player("video");
  const film = await page.evaluate(async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
    const pen = canvas.getContext("2d");
    let hue = 0;
    const drawing = setInterval(() => {
      pen.fillStyle = `hsl(${(hue += 10)} 80% 50%)`;
      pen.fillRect(0, 0, 64, 48);
    }, 40);
    const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType: "video/webm;codecs=vp8" });
    const parts = [];
    recorder.ondataavailable = (event) => parts.push(event.data);
    const stopped = new Promise((done) => (recorder.onstop = done));
    recorder.start();
    setTimeout(() => recorder.stop(), 2_000);
    await stopped;
    clearInterval(drawing);
    return Array.from(new Uint8Array(await new Blob(parts).arrayBuffer()));
  });
  await upload("PUT", "film", { "content-type": "video/webm" }, Buffer.from(film));
  await load(page, urlOf("film"));
  await play(page, 2);
  await until(page, "p.ended && p.videoWidth === 64");
  await page.goto(urlOf("film"));
  await page.waitForFunction(() => document.querySelector("video")?.readyState >= 2);
  await page.close();
});
