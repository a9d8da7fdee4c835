// A browser for the tests of pages: headless Chromium at the path CHROMIUM. With SCREENSHOTS, pictures are put into that folder.
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

export const screenshots = process.env.SCREENSHOTS;
export const NARROW = { width: 400, height: 800 };
export const WIDE = { width: 1400, height: 900 };
let browser;

before(async () => {
  const quiet = ["quic", "background-networking", "component-update", "sync"].map((what) => `--disable-${what}`);
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--lang=en-US", "--no-sandbox", "--disable-gpu", "--no-first-run", ...quiet],
  });
});

after(() => browser.close());

/** Opens a page of the service at this URL. The test fails if it loads anything of another origin, on an error, and on a violation of its policy. */
export async function openAt(url, test, path, options = {}) {
  const context = await browser.newContext({ viewport: WIDE, locale: "en-US", ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && new URL(request.url()).origin !== new URL(url).origin) {
      faults.push(`loads ${request.url()}`);
    }
  });
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) faults.push(message.text());
  });
  test.after(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });
  await page.goto(url + path);
  return page;
}

/** Returns the violations of WCAG 2.1 AA on a page, which make it hard to read or use. */
export async function barriers(page) {
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]).analyze();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join("; ")}`);
}

export const fits = (page) => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
