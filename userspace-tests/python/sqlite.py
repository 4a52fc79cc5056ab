# sqlite3 in memory and in a file, with transactions, a journal, and threads of one connection each.
import os
import sqlite3
import tempfile
import threading

for place in (":memory:", os.path.join(tempfile.mkdtemp(), "data.db")):
    db = sqlite3.connect(place)
    db.execute("create table t (id integer primary key, name text, value real)")
    with db:
        db.executemany("insert into t (name, value) values (?, ?)", [(f"n{i % 10}", i / 7) for i in range(5000)])
    print(db.execute("select count(*), round(sum(value), 6) from t").fetchone())
    for row in db.execute("select name, count(*), round(avg(value), 4) from t group by name order by name limit 3"):
        print(row)
    try:
        with db:
            db.execute("delete from t")
            raise RuntimeError
    except RuntimeError:
        print("rolled back to", db.execute("select count(*) from t").fetchone()[0])
    db.create_function("twice", 1, lambda x: x * 2)
    print(db.execute("select twice(21)").fetchone())
    db.execute("create index i on t (name)")
    db.commit()
    print(db.execute("pragma integrity_check").fetchone())
    db.close()


def add(number):
    mine = sqlite3.connect(place, timeout=60)
    for i in range(20):
        with mine:
            mine.execute("insert into t (name, value) values (?, ?)", (f"thread{number}", i))
    mine.close()


threads = [threading.Thread(target=add, args=(n,)) for n in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
db = sqlite3.connect(place)
print(db.execute("select name, count(*) from t where name like 'thread%' group by name").fetchall())
try:
    db.execute("select nonsense from t")
except sqlite3.OperationalError as error:
    print(error)
