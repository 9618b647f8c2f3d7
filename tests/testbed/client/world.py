"""A small server that speaks the images API, for the tests: canned pictures, times that are known.

It listens on loopback, in a thread of this process.
"""

import base64
import io
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

SIZE = 16
STEP_TIME, TEXT_TIME, DECODE_TIME = 0.004, 0.003, 0.002  # s
#: Of a configuration: all but its places, the link, and what a scenario allows its few users.
SMALL_RUN = """[quality]
clip = "embedded:clip"
reference = "scenes"
reference_size = 20
[sweep]
steps = [1, 2, 4]
prompts_per_class = 3
timed = 2
converged_steps = 8
batches = [1, 2]
[scenario]
users = 4
"""


def picture(prompt, seed, steps, size=SIZE):
    """A picture that depends on what is asked, and comes nearer to its end with the steps."""
    draw = np.random.default_rng([seed, sum(map(ord, prompt))])
    end, start = draw.integers(0, 256, (2, size, size, 3))
    return (end + (start - end) * 0.7**steps).round().astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def openai_body(pixels, metrics=None):
    """An answer as this project's server gives it; without metrics as OpenAI's does."""
    data = {"b64_json": base64.b64encode(png(pixels)).decode()}
    return {"created": 1, "data": [data], **({"metrics": metrics} if metrics else {})}


class Shop:
    """What the server does; tests set the attributes.

    ``answer(body)`` gives (status, headers, JSON) and may be replaced. One image at a time is made,
    so that ``b`` requests at once take ``b`` times as long; ``batched`` makes all at once.
    ``tells_queue``: as this project's server; otherwise as SGLang's, whose seconds are those of the
    image alone.
    """

    def __init__(self):
        self.bodies, self.models, self.batched = [], ["canned"], False
        self.tells_queue = True
        self.pad = 0
        self._lock = threading.Lock()

    def answer(self, body):
        steps = body["num_inference_steps"]
        begin = time.perf_counter()
        spent = TEXT_TIME + steps * STEP_TIME + DECODE_TIME
        if self.batched:
            time.sleep(spent)
        else:
            with self._lock:
                begun = time.perf_counter()
                time.sleep(spent)
        end = time.perf_counter()
        queue = 0.0 if self.batched else begun - begin
        metrics = {
            "queue": queue,
            "text": TEXT_TIME,
            "denoise": steps * STEP_TIME,
            "decode": DECODE_TIME,
            "service": end - begin - queue,
            "encode": 0.0,
            "batch": 1,
            "predicted": spent,
            "inside": True,
        }
        pixels = picture(body["prompt"], body["seed"], steps)
        if not self.tells_queue:
            return 200, {}, openai_body(pixels) | {"inference_time_s": metrics["service"]}
        answer = openai_body(pixels, metrics) | {"padding": "x" * self.pad}
        return 200, {"Server-Timing": f"total;dur={1e3 * (end - begin):.3f}"}, answer


@contextmanager
def serving(shop=None):
    """The URL of a server that runs ``shop``, and the shop."""
    shop = shop or Shop()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            models = {"data": [{"id": name} for name in shop.models]}
            self.reply(200 if self.path == "/v1/models" else 404, {}, models)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            shop.bodies.append(body)
            self.reply(*shop.answer(body))

        def reply(self, status, headers, body):
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", shop
    finally:
        server.shutdown()
        server.server_close()
