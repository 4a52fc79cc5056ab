//! Servers in Python.

use crate::{Server, get, post};

const AIOHTTP: &str = "
import aiohttp.web, asyncio, uvloop
uvloop.install()
async def count(request):
    return aiohttp.web.json_response({'len': len(await request.read())})
async def meet(request):
    meeting.append(request)
    while len(meeting) % 20:
        await asyncio.sleep(0.01)
    return aiohttp.web.Response(text='met')
meeting = []
app = aiohttp.web.Application(client_max_size=1 << 30)
app.add_routes([aiohttp.web.post('/count', count), aiohttp.web.get('/meet', meet)])
aiohttp.web.run_app(app, port=80, reuse_port=True)
";

#[test]
fn aiohttp_serves_on_uvloop() {
    let server = Server::start(&[], &["python3", "-c", AIOHTTP]).wait(&get("/"));
    let body = vec![7; 2_000_000];
    assert!(
        server
            .ask(&post("/count", &body))
            .ends_with(b"{\"len\": 2000000}")
    );
    // None is answered before all are there.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(server.get("/meet"), b"met"));
        }
    });
}

#[test]
fn pythons_server_lists_directories() {
    let command = [
        "python3",
        "-m",
        "http.server",
        "80",
        "--directory",
        "/usr/share",
    ];
    let server = Server::start(&[], &command).wait(&get("/"));
    let list = server.get("/");
    assert!(String::from_utf8_lossy(&list).contains("doc/"));
}

const FASTAPI: &str = "
import fastapi, uvicorn
app = fastapi.FastAPI()
@app.get('/items/{item}')
async def read(item: int, color: str = 'none'):
    return {'item': item, 'color': color}
@app.post('/count')
async def count(request: fastapi.Request):
    return {'len': sum([len(part) async for part in request.stream()])}
@app.get('/blocking')
def blocking():
    return 'from a thread'
uvicorn.run(app, host='0.0.0.0', port=80, log_level='warning')
";

#[test]
fn fastapi_serves_on_uvicorn() {
    let server = Server::start(&[], &["python3", "-c", FASTAPI]).wait(&get("/items/1"));
    assert_eq!(
        server.get("/items/7?color=red"),
        br#"{"item":7,"color":"red"}"#
    );
    let refused = server.ask(&get("/items/x"));
    assert!(refused.starts_with(b"HTTP/1.1 422 "));
    let answer = server.ask(&post("/count", &vec![7; 2_000_000]));
    assert!(answer.ends_with(b"{\"len\":2000000}"));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(server.get("/blocking"), b"\"from a thread\""));
        }
    });
}
