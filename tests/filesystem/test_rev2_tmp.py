import os, pytest, trio
from trio.testing import wait_all_tasks_blocked
from tests.fakes.faulty_store import FaultyStore
from tests.fakes.memory_store import MemoryStore
from tests.filesystem.world import world, ROOT, ME
async def rewrite(w, path, data):
    fh = await w.open(path, os.O_WRONLY)
    await w.fs.write(fh, 0, data); await w.fs.flush(fh); await w.fs.release(fh)
@pytest.mark.parametrize("how", ["over", "away", "unlink"])
async def test_it(tmp_path, autojump_clock, how):
    mem=MemoryStore(); store=FaultyStore(mem)
    async with world(tmp_path, store, waits=False) as w:
        await w.write("new", b"NEW")
        await w.fs.flush_path()
        hold=store.hold("put")
        await w.write("target", b"one")
        await hold.reached.wait()
        await rewrite(w, "target", b"two")
        p=[(ROOT,"new"),(ROOT,"target")]
        async with trio.open_nursery() as n:
            if how=="over": n.start_soon(lambda: w.fs.rename((ROOT,"new"),(ROOT,"target"),may_replace=True))
            elif how=="away": n.start_soon(lambda: w.fs.rename((ROOT,"target"),(ROOT,"moved"),may_replace=True))
            else: n.start_soon(lambda: w.fs.unlink(ROOT,"target"))
            await wait_all_tasks_blocked()
            hold.release.set()
        await trio.sleep(100)
        await w.fs.flush_path()
        print(how, mem.contents(), w.fs._committer._on_the_way.keys())
        assert mem.contents()=={"over":{"target":b"NEW"},"away":{"moved":b"two","new":b"NEW"},"unlink":{"new":b"NEW"}}[how]
