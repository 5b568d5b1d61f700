"""Real servers for tests: `servers.py https PORT DIRECTORY` with a certificate of its own in the directory, `servers.py grpc PORT`."""

import http.server
import ssl
import subprocess
import sys
import threading
from concurrent import futures


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        places = {"/moved": "/ok", "/away": "https://192.0.2.1/", "/again": "/again"}
        if self.path in places:
            self.send_response(302)
            self.send_header("Location", places[self.path])
        elif self.path == "/header" and self.headers["X-Asked"] == "yes" and "kube-probe/" in self.headers["User-Agent"]:
            self.send_response(200)
        else:
            self.send_response({"/ok": 200, "/hook": 500}.get(self.path, 503))
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path == "/hook":
            open(sys.argv[3] + "/hook", "w").close()

    def log_message(self, *_):
        pass


class Plain(Answers):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "https://127.0.0.1:8443" + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()


def https(port, directory):
    pem = directory + "/server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=nobody", "-days", "1", "-keyout", pem, "-out", pem + ".crt"],
        check=True, stderr=subprocess.DEVNULL)
    # Plain HTTP, which sends /a on to /a by TLS.
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Plain)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem + ".crt", pem)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def grpc_health(port):
    import grpc

    def check(request, context):
        service = request[2:].decode()
        if service == "slow":
            import time
            time.sleep(60)
        if service not in ("", "sick"):
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service é")
        return b"\x08\x02" if service == "sick" else b"\x08\x01"

    server = grpc.server(futures.ThreadPoolExecutor())
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    server.add_insecure_port("127.0.0.1:%d" % port)
    server.start()
    return server


kind, port = sys.argv[1], int(sys.argv[2])
if kind == "https":
    server = https(port, sys.argv[3])
    print("ready", flush=True)
    server.serve_forever()
elif kind == "http":
    # To what is no HTTP it answers with a head, too.
    Answers.default_request_version = "HTTP/1.1"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers)
    print("ready", flush=True)
    server.serve_forever()
elif kind == "grpc":
    server = grpc_health(port)
    print("ready", flush=True)
    server.wait_for_termination()
else:
    # A server without the health service.
    import grpc
    server = grpc.server(futures.ThreadPoolExecutor())
    server.add_insecure_port("127.0.0.1:%d" % port)
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()
