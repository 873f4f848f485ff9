"""b2mount: a Backblaze B2 bucket as a directory. This is the map of the code.

One idea carries it: names expire, contents don't. An object version is immutable and has an id;
what is cached under a version id is right for ever. Only the mapping name -> version grows stale,
so only that has a time to live, and an open file is pinned to one version.

    cli                      what a person types
     |
    mount                    builds one mount from all the parts below, runs it, drains it
     |                       (access: what is to be mounted, and what the key may do with it; costs:
     |                       what was asked of B2 is kept, and a budget begins economies;
     |                       waking: the machine has slept)
    fuse      control        two front doors: the kernel, and a unix socket for `b2mount status`
      \\         /
      filesystem             what each file operation means; knows the three services below
     /     |      \\
    namespace  reading  writing    siblings that never import each other
     \\     |      /
        store                B2: ObjectStore (a protocol) and B2Store; the only home of b2sdk
          |
       threads               the only way from trio into a thread
    model, errors, options, budget, plain_text, private_directory   leaves that everybody may use
    emulator                 off to one side: a local B2 over HTTP; imports nothing of ours

    namespace  what exists under which name and number: directory cache (names expire), overlay
               (what this mount did wins), inodes, attributes and stored xattrs <-> object info;
               listings and what the kernel knows of them are rows of a name_table, packed;
               with a long time to live they outlast the mount in a name_index;
               history_tree shows other times, a catalog is whatever names can be looked up in
    reading    the bytes of object versions: blocks on disk, flights (ranged GETs), readahead,
               checks against B2's SHA-1
    writing    the bytes not yet in B2: staged files with extents, the journal, upload plans
               (put what changed, copy the rest inside B2; all of it where a twin has the bytes),
               the queue; pruner removes what was superseded here (own_versions), mover renames, and its
               exchanger and strays take back what failed; object_copies are made beside all
               uploads; what is nice to have is in a spare_file
    filesystem content is where reading and writing meet; committer, creating, removing, renaming,
               exchanging, clearing what moves have left, echoes of names that are gone; changing
               for attributes, xattrs for extended ones, protecting for retention and holds; prefetch
               has the next files fetched for programs that go through directories (siblings says
               which); by_path for what people ask by name: url, warm, evict, refresh, and copying for
               cp; absences are the names that the kernel takes for absent;
               areas sends what is below `.b2` to past, which has a catalog for each moment, for versions,
               the trash and names that no path can spell, and the rest to filesystem; restoring brings
               versions back
    store      one verb is one request; b2sdk's errors become ours here, and nowhere else; pace is
               how fast requests may follow each other; login renews tokens and finds a new key
               when one ends; encryption has the key, where there is one
    fuse       our errors become an errno here, and nowhere else

A read:   fuse.operations -> filesystem.filesystem -> content -> reading.reader -> fetcher
          -> block_cache, else store.read_range -> threads
A close:  fuse.operations -> filesystem.filesystem -> committer -> writing.write_back -> journal
          (durable) -> upload_queue -> uploader -> store.put | put_part | copy_part (in B2)

Who may import whom is held by tests/test_layers.py. Read in this order: model, errors,
store/interface, filesystem/filesystem, reading/fetcher, writing/extents, writing/write_back, mount.
"""

__version__ = "0.1.0"
