"""`make prove-residency`: a great many requests through the gateway's own code, and nothing where it may not go.

`oracle.py` says in a hundred lines what residency promises, without a line of the gateway's; `worlds.py` makes
policies, careless and hostile ones too; `memory.py` is where the socket would be;
`rig.py` puts the real objects around them.
`http.py` does it over HTTP, in front of the simulated fleet; `media_http.py` with pictures, speech, sound and films, in
front of servers that note every request (`witness.py`), which `media_judge.py` has the oracle look at.
"""
