"""Queues of Python, as jobs.mjs has those of Node:

    jobs.py KIND work CONCURRENCY
    jobs.py KIND add JOBS CONCURRENCY SIZE
    jobs.py KIND wait JOBS

KIND is celery or rq.  Both keep results in Redis.
"""

import json
import os
import sys
import threading
import time
from datetime import datetime, timezone

import redis

URL = "redis://127.0.0.1:%s/0" % os.environ["REDIS_PORT"]
RESULT = {"answer": "zq zq zq zq", "citations": []}


def noop(data):
    return RESULT


def celery_app():
    from celery import Celery

    app = Celery("jobs", broker=URL, backend=URL)
    # what its manual asks for so that a lost worker loses no task
    app.conf.update(task_acks_late=True, worker_prefetch_multiplier=4,
                    task_reject_on_worker_lost=True,
                    worker_hijack_root_logger=False)
    return app, app.task(name="noop")(noop)


def work(kind, concurrency):
    print("ready", flush=True)

    if kind == "celery":
        app, _ = celery_app()
        # processes: as many as there are processors is its default
        app.worker_main(["worker", "--loglevel=ERROR", "--without-gossip",
                         "--without-mingle"])
    else:
        from rq import Queue, SimpleWorker

        # does not fork for each job: the fastest that it has
        db = redis.Redis.from_url(URL)
        SimpleWorker([Queue("bench", connection=db)], connection=db).work(
            logging_level="ERROR")


def add(kind, n, concurrency, size):
    data = {"query": "x" * size}
    left = iter(range(n))
    lock = threading.Lock()

    if kind == "celery":
        task = celery_app()[1]
        send = lambda: task.delay(data)
    else:
        from rq import Queue

        queue = Queue("bench", connection=redis.Redis.from_url(URL))
        # by its name: what runs here is __main__, which a worker cannot load
        send = lambda: queue.enqueue("jobs.noop", data, result_ttl=3600)

    def some():
        while True:
            with lock:
                if next(left, None) is None:
                    return
            send()

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


def wait(kind, n):
    db = redis.Redis.from_url(URL)

    def done():
        if kind == "rq":
            return db.zcard("rq:finished:bench")
        # only results, the queue and some names are there
        return sum(1 for _ in db.scan_iter("celery-task-meta-*", 1000))

    while done() < n:
        time.sleep(0.2)
    print(int(last_of(kind, db) * 1000), flush=True)


if __name__ == "__main__":
    kind, what, *args = sys.argv[1:]
    {"work": work, "add": add, "wait": wait}[what](kind, *map(int, args))
