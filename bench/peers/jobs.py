"""Queues of Python, as jobs.mjs has those of Node:

    jobs.py KIND work CONCURRENCY
    jobs.py KIND add JOBS CONCURRENCY SIZE
    jobs.py KIND wait JOBS
    jobs.py KIND count

KIND is celery or rq.  Both keep results in Redis.  BENCH_MODE is best (many
short tasks), reliable (what a manual asks for so that a killed worker loses
nothing) or default.
"""

import json
import os
import sys
import threading
import time
from datetime import datetime, timezone

import redis

URL = "redis://127.0.0.1:%s/%s" % (os.environ["REDIS_PORT"],
                                  os.environ.get("REDIS_DB", "0"))
RESULT = {"answer": "zq zq zq zq", "citations": []}


MODE = os.environ.get("BENCH_MODE", "best")


def noop(data):
    if os.environ.get("BENCH_NAP"):
        with open(os.environ["BENCH_NOTE"], "a") as note:
            note.write("%d\n" % data["n"])
        time.sleep(int(os.environ["BENCH_NAP"]) / 1000)
    return RESULT


def celery_app():
    from celery import Celery

    app = Celery("jobs", broker=URL, backend=URL)
    app.conf.update(worker_hijack_root_logger=False)
    if MODE != "default":
        # results are kept by the others also if a worker is lost
        app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
    if MODE == "best":
        # "Optimizing" of its manual, for many tasks that are short
        app.conf.update(worker_prefetch_multiplier=64)
    return app, app.task(name="noop")(noop)


def work(kind, concurrency):
    if kind == "celery":
        from celery.signals import worker_ready

        app, _ = celery_app()
        # what is printed would become a line of its log
        worker_ready.connect(lambda **_: os.write(1, b"ready\n"), weak=False)
        # processes: as many as there are processors is its default
        app.worker_main(["worker", "--loglevel=ERROR"] + (
            [] if MODE == "default"
            else ["--without-gossip", "--without-mingle"]))
    else:
        from rq import Queue, SimpleWorker, Worker

        # the simple one does not fork for each job
        kind = Worker if MODE == "default" else SimpleWorker
        db = redis.Redis.from_url(URL)
        print("ready", flush=True)
        kind([Queue("bench", connection=db)], connection=db).work(
            logging_level="ERROR")


def add(kind, n, concurrency, size):
    query = "x" * size
    left = iter(range(n))
    lock = threading.Lock()

    if kind == "celery":
        task = celery_app()[1]
        send = lambda n: task.delay({"query": query, "n": n})
    else:
        from rq import Queue

        queue = Queue("bench", connection=redis.Redis.from_url(URL))
        # by its name: what runs here is __main__, which a worker cannot load
        send = lambda n: queue.enqueue(
            "jobs.noop", {"query": query, "n": n}, result_ttl=3600)

    def some():
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            send(number)

    start = time.time()
    threads = [threading.Thread(target=some) for _ in range(concurrency)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    print(int(start * 1000), flush=True)
    os._exit(0)


def last_of(kind, db):
    """When the last one ended, from what is stored with each result."""
    last = 0
    if kind == "celery":
        for key in db.scan_iter("celery-task-meta-*", 1000):
            done = datetime.fromisoformat(json.loads(db.get(key))["date_done"])
            last = max(last, done.replace(tzinfo=timezone.utc).timestamp())
    else:
        for key in db.scan_iter("rq:job:*", 1000):
            done = db.hget(key, "ended_at")
            if done:
                done = datetime.strptime(done.decode(), "%Y-%m-%dT%H:%M:%S.%fZ")
                last = max(last,
                           done.replace(tzinfo=timezone.utc).timestamp())
    return last


def done(kind, db):
    if kind == "rq":
        return db.zcard("rq:finished:bench")
    # only results, the queue and some names are there
    return sum(1 for _ in db.scan_iter("celery-task-meta-*", 1000))


def wait(kind, n):
    db = redis.Redis.from_url(URL)
    while done(kind, db) < n:
        time.sleep(0.2)
    print(int(last_of(kind, db) * 1000), flush=True)


def count(kind):
    db = redis.Redis.from_url(URL)
    print(done(kind, db), int(last_of(kind, db) * 1000), flush=True)


if __name__ == "__main__":
    kind, what, *args = sys.argv[1:]
    {"work": work, "add": add, "wait": wait, "count": count}[what](
        kind, *map(int, args))
