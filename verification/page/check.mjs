// Pages of reduced experiments, checked with axe in a browser: light and dark, wide and narrow.
// Usage: node check.mjs [--keep DIR]; PYTHON and CHROMIUM name other programs than the usual ones.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, "../..");
const python = process.env.PYTHON ?? "python";
const axe = readFileSync(path.join(here, "node_modules/axe-core/axe.min.js"), "utf8");
const HOSTILE = "</script><img src=x onerror=alert(1)> {{7*7}}";
const RUNS = {
  article: ["simulation.max_requests=500"],
  noise: ["simulation.max_requests=200"],
  batch: ["simulation.max_requests=100"],
  policies: ["simulation.requests=60", `title=${JSON.stringify(HOSTILE)}`],
};
const SHORT = 3; // the precision that is asked for needs more requests
const WIDTHS = [1280, 1100, 800, 360];
const ROOMY = 1100; // from here on a table needs no scrolling
const SCHEMES = ["light", "dark"];
const CONTROL = `<!doctype html><html><title>x</title><link rel="stylesheet" href="http://127.0.0.1:9/x.css"><body>
<img src="data:," onerror="alert(1)"><p style="color:#ccc; width: 3000px">faint</p>
<div class="scroll" style="overflow: auto; width: 100px"><table><tr><td style="min-width: 999px">wide</table></div>`;
const CAUGHT = ["html-has-lang", "image-alt", "color-contrast", "asks for", "runs a script", "scrolls sideways", "hides columns", "has no what-if panel"];

function simulated(work) {
  return Object.entries(RUNS).map(([name, settings]) => {
    const out = path.join(work, name);
    const sets = settings.flatMap((one) => ["--set", one]);
    const file = path.join("experiments", `${name}.toml`);
    const command = ["-m", "mtpsim", "run", file, "--out", out, "--quiet", ...sets];
    const run = spawnSync(python, command, { cwd: root, encoding: "utf8" });
    if (run.status !== 0 && run.status !== SHORT) throw new Error(`${name}: ${run.stderr || run.error}`);
    return [name, path.join(out, "report.html")];
  });
}

async function faults(browser, file, width, scheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  const found = [];
  page.on("request", (request) => {
    if (!/^(file|data):/.test(request.url())) found.push(`asks for ${request.url()}`);
  });
  page.on("dialog", async (dialog) => {
    found.push(`runs a script: ${dialog.message()}`);
    await dialog.dismiss();
  });
  page.on("pageerror", (error) => found.push(`error: ${error.message}`));
  await page.goto(pathToFileURL(file).href);
  await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  if (wide > width) found.push(`scrolls sideways: ${wide} px`);
  const cut = await page.evaluate(() => [...document.querySelectorAll(".scroll:has(table)")]
    .filter((box) => box.scrollWidth > box.clientWidth + 1)
    .map((box) => box.querySelector("caption")?.textContent ?? "a table"));
  if (width >= ROOMY) for (const one of new Set(cut)) found.push(`hides columns: ${one}`);
  found.push(...await panelFaults(page));
  await page.evaluate(axe); // not as a script of the page, which allows none
  const { violations } = await page.evaluate(() => window.axe.run());
  for (const one of violations) {
    const where = one.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ");
    found.push(`${one.id}: ${one.help} (${one.nodes.length}: ${where})`);
  }
  await context.close();
  return found;
}

// The panel starts at the values of the run, and a rate of 0 turns drafting off.
async function panelFaults(page) {
  if (!(await page.locator("#what-if:visible").count())) return ["has no what-if panel"];
  const finding = page.locator("#what-if .finding");
  const start = await finding.innerText();
  await page.getByLabel("acceptance rate 1", { exact: true }).fill("0");
  const off = await finding.innerText();
  await page.locator("#what-if .reset").click();
  const found = off === "Plain decoding is fastest" ? [] : [`what-if panel without drafts: ${off}`];
  if (await finding.innerText() !== start) found.push("what-if panel is not reset");
  return found;
}

async function main(work) {
  const pages = simulated(work);
  const control = path.join(work, "control.html");
  writeFileSync(control, CONTROL);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  let bad = 0;
  try {
    for (const [name, file] of pages) {
      for (const scheme of SCHEMES) {
        for (const width of WIDTHS) {
          const found = await faults(browser, file, width, scheme);
          console.log(`${name}, ${scheme}, ${width} px: ${found.length ? "" : "nothing found"}`);
          for (const text of found) console.log(`  ${text}`);
          bad += found.length;
        }
      }
    }
    const caught = (await faults(browser, control, 1200, "light")).join("\n");
    for (const rule of CAUGHT) {
      if (!caught.includes(rule)) {
        console.log(`the control page was not found out: ${rule}`);
        bad += 1;
      }
    }
  } finally {
    await browser.close();
  }
  console.log(bad ? `${bad} faults` : "no faults; the control page was found out");
  return bad ? 1 : 0;
}

const keep = process.argv.indexOf("--keep");
const work = keep > 0 ? path.resolve(process.argv[keep + 1]) : mkdtempSync(path.join(tmpdir(), "page-"));
mkdirSync(work, { recursive: true });
try {
  process.exitCode = await main(work);
} finally {
  if (keep < 0) rmSync(work, { recursive: true, force: true });
}
