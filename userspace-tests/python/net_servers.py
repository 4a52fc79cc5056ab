# Servers and clients of Python's library in one machine: asyncio, http.server and urllib, socketserver, multiprocessing's listeners.
import asyncio
import http.server
import multiprocessing.connection
import os
import selectors
import socket
import socketserver
import threading
import urllib.error
import urllib.request


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def talk(number, open_connection):
    reader, writer = await open_connection()
    for turn in range(5):
        writer.write(f"client {number} turn {turn}\n".encode())
        assert await reader.readline() == f"CLIENT {number} TURN {turn}\n".encode()
    writer.close()
    await writer.wait_closed()


async def streams():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await asyncio.gather(*(talk(n, lambda: asyncio.open_connection("127.0.0.1", port)) for n in range(20)))
    path = "/tmp/asyncio-socket"
    server = await asyncio.start_unix_server(echo, path)
    async with server:
        await asyncio.gather(*(talk(n, lambda: asyncio.open_unix_connection(path)) for n in range(20)))
    os.unlink(path)
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        print("asyncio: served and gone")


class Files(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path != "/large":
            return self.send_error(404)
        body = b"0123456789" * 100_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def web():
    with http.server.ThreadingHTTPServer(("localhost", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"
        with urllib.request.urlopen(base + "/large") as answer:
            print("http:", answer.status, len(answer.read()))
        try:
            urllib.request.urlopen(base + "/other")
        except urllib.error.HTTPError as error:
            print("http:", error.code)
        server.shutdown()
        thread.join()


class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line[::-1])


def lines():
    with socketserver.ThreadingTCPServer(("::1", 0), Lines, False) as server:
        server.socket.close()
        server.socket = socket.create_server(("::1", 0), family=socket.AF_INET6)
        server.server_address = server.socket.getsockname()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with socket.create_connection(server.server_address[:2]) as client, client.makefile("rwb") as file:
            file.write(b"abc")
            file.flush()
            client.shutdown(socket.SHUT_WR)
            print("socketserver:", file.read())
        server.shutdown()
        thread.join()


def objects():
    for family in "AF_INET", "AF_UNIX":
        with multiprocessing.connection.Listener(family=family, authkey=b"key") as listener:
            def serve():
                with listener.accept() as end:
                    end.send({"got": end.recv()})
            thread = threading.Thread(target=serve)
            thread.start()
            with multiprocessing.connection.Client(listener.address, authkey=b"key") as client:
                client.send([1, "two", 3.0])
                print("multiprocessing:", family, client.recv())
            thread.join()


def many():
    """Hundreds of connections in one selector."""
    with socket.create_server(("127.0.0.1", 0), backlog=400) as listener, selectors.DefaultSelector() as selector:
        clients = []
        for number in range(400):
            client = socket.create_connection(listener.getsockname())
            end, _ = listener.accept()
            end.setblocking(False)
            selector.register(end, selectors.EVENT_READ, number)
            clients.append(client)
        for number, client in enumerate(clients):
            if number % 3 == 0:
                client.sendall(str(number).encode())
        right = 0
        while right < 134:
            for key, _ in selector.select():
                right += key.fileobj.recv(10) == str(key.data).encode()
        print("selectors:", right)
        for key in list(selector.get_map().values()):
            key.fileobj.close()
        for client in clients:
            client.close()


asyncio.run(streams())
web()
lines()
objects()
many()
