"""Checks every page of the built site in headless Chromium, 400 and 1280 pixels wide: `python docs/look.py`.

It lists pages that scroll sideways, broken pictures, and pictures without a description in words. With a folder it also
takes screenshots of pages, light and dark: `python docs/look.py FOLDER index start`. Chromium is a Debian package.
"""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SITE = Path(__file__).parent / "_build" / "html"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LOOK = """<body><pre></pre><script>
const pages = PAGES, found = [];
const look = (page, width) => new Promise(done => {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "900px"; frame.src = page;
  frame.onload = () => setTimeout(() => {
    const inside = frame.contentDocument, root = inside.documentElement;
    if (root.scrollWidth > root.clientWidth) found.push(`${page} scrolls sideways at ${width}: ${root.scrollWidth}`);
    for (const i of inside.images) {
      if (i.complete && !i.naturalWidth) found.push(`${page} has a broken picture: ${i.src}`);
      if (!i.alt) found.push(`${page} has a picture without words: ${i.src}`);
    }
    frame.remove(); done();
  }, 60);
  document.body.append(frame);
});
(async () => {
  for (const page of pages) for (const width of [400, 1280]) await look(page, width);
  document.querySelector("pre").textContent = `<<${pages.length} pages\\n${found.join("\\n")}>>`;
})();
</script></body>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def chromium(*arguments: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        line = [shutil.which("chromium") or "chromium", *FLAGS, f"--user-data-dir={profile}", *arguments]
        return subprocess.run(line, capture_output=True, text=True, timeout=300).stdout


def main() -> int:
    pages = [
        str(p.relative_to(SITE)) for p in sorted(SITE.rglob("*.html")) if not p.relative_to(SITE).parts[0][0] == "_"
    ]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{server.server_port}"
    look = SITE / "_look.html"
    look.write_text(LOOK.replace("PAGES", json.dumps(pages)))
    told = chromium("--window-size=1400,1000", "--virtual-time-budget=120000", "--dump-dom", f"{at}/_look.html")
    look.unlink()
    told = told.partition("&lt;&lt;")[2].partition("&gt;&gt;")[0].strip()
    print(told or "Chromium said nothing")
    if sys.argv[1:]:
        for page in sys.argv[2:]:
            for theme, setting in (("light", 1), ("dark", 0)):
                shot = Path(sys.argv[1]) / f"{page.replace('/', '-')}-{theme}.png"
                scheme = f"--blink-settings=preferredColorScheme={setting}"
                chromium(
                    scheme, "--hide-scrollbars", "--window-size=1280,1600", f"--screenshot={shot}", f"{at}/{page}.html"
                )
    return 0 if told.count("\n") == 0 and told else 1


if __name__ == "__main__":
    sys.exit(main())
