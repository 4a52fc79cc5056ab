// Two CPythons in one process, each in a namespace of its own with its own copy of an extension module that keeps global
// state. They share the C library and its threads. Each evaluates in turn and at the same time as the other, from two
// threads, and gets its own answers. (Linux cannot be asked: there every namespace would have a C library of its own.)
// cpus: 4
// hosted: too
// seconds: 240
// flags: -I/usr/include/python3.11
// shared: tally.so -DEXTENSION -I/usr/include/python3.11
#ifdef EXTENSION
#include <Python.h>
static long total;
static __thread long mine;
static PyObject *add(PyObject *self, PyObject *argument) {
    (void)self;
    total += PyLong_AsLong(argument);
    mine++;
    return Py_BuildValue("ll", total, mine);
}
static PyMethodDef methods[] = {{"add", add, METH_O, "Adds to the module's own total."}, {0, 0, 0, 0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "tally", 0, -1, methods, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit_tally(void) { return PyModule_Create(&module); }
#else
#include "check.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct python {
    void *library;
    Lmid_t namespace;
    int (*run)(const char *);
    void *(*save)(void);
    void (*restore)(void *);
    int (*ensure)(void);
    void (*release)(int);
};
static char directory[4096];
static pthread_barrier_t barrier;

static void *symbol(const struct python *python, const char *name) {
    void *found = dlsym(python->library, name);
    if (!found) puts(dlerror());
    CHECK(found != NULL);
    return found;
}

static void start(struct python *python) {
    python->library = dlmopen(LM_ID_NEWLM, "libpython3.11.so.1.0", RTLD_NOW);
    if (!python->library) puts(dlerror());
    CHECK(python->library != NULL);
    CHECK(dlinfo(python->library, RTLD_DI_LMID, &python->namespace) == 0);
    *(void **)&python->run = symbol(python, "PyRun_SimpleString");
    *(void **)&python->save = symbol(python, "PyEval_SaveThread");
    *(void **)&python->restore = symbol(python, "PyEval_RestoreThread");
    *(void **)&python->ensure = symbol(python, "PyGILState_Ensure");
    *(void **)&python->release = symbol(python, "PyGILState_Release");
    void (*initialise)(int);
    *(void **)&initialise = symbol(python, "Py_InitializeEx");
    initialise(0);
    char text[8192];
    snprintf(text, sizeof text, "import sys; sys.path.insert(0, '%s'); import tally, json, zlib, _ctypes", directory);
    CHECK(python->run(text) == 0);
}

static void *work(void *argument) {
    struct python *python = argument;
    // Both run at once: each has a lock of its own.
    pthread_barrier_wait(&barrier);
    int state = python->ensure();
    CHECK(python->run("for i in range(20000): last = tally.add(step)\n"
                      "squares = sum(x * x for x in range(step, 30000))\n") == 0);
    python->release(state);
    return NULL;
}

int main(int argc, char **argv) {
    (void)argc;
    struct python pythons[2];
    CHECK(realpath(argv[0], directory) != NULL);
    *strrchr(directory, '/') = 0;
    void *threads[2];
    for (int i = 0; i < 2; i++) {
        start(&pythons[i]);
        threads[i] = pythons[i].save();
    }
    CHECK(pythons[0].namespace != pythons[1].namespace && pythons[0].run != pythons[1].run);
    // In turn.
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 2; i++) {
            char text[200];
            pythons[i].restore(threads[i]);
            snprintf(text, sizeof text, "step = %d\nprint(%d, 'adds', step, 'gets', tally.add(step), flush=True)", i + 1, i);
            CHECK(pythons[i].run(text) == 0);
            threads[i] = pythons[i].save();
        }
    // At once.
    pthread_t workers[2];
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&workers[i], NULL, work, &pythons[i]) == 0);
    for (int i = 0; i < 2; i++) CHECK(pthread_join(workers[i], NULL) == 0);
    for (int i = 0; i < 2; i++) {
        pythons[i].restore(threads[i]);
        CHECK(pythons[i].run("print(last, squares, json.dumps({'ok': zlib.crc32(b'x')}), flush=True)\n"
                             "import threading, queue\n"
                             "answers = queue.Queue()\n"
                             "workers = [threading.Thread(target=lambda: answers.put(tally.add(0))) for _ in range(3)]\n"
                             "[w.start() for w in workers]; [w.join() for w in workers]\n"
                             "print([answers.get() for _ in workers], flush=True)") == 0);
        threads[i] = pythons[i].save();
    }
    for (int i = 0; i < 2; i++) {
        int (*finish)(void);
        *(void **)&finish = symbol(&pythons[i], "Py_FinalizeEx");
        pythons[i].restore(threads[i]);
        CHECK(finish() == 0);
    }
    return FINISH();
}
#endif
