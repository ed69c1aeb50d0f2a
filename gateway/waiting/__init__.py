"""Who waits for room: `line.py` says whose turn it is (pure), `lines.py` calls them (asyncio), `drain.py` how long it
takes."""
