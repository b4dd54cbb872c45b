"""The sandbox's composer: a prompt becomes an arrangement, the arrangement becomes sound, in NumPy alone.

Nothing is loaded by importing this package. ``worker`` is the program of a process of its own, which the server
starts; ``compose`` holds the whole way from an order to its clips.

::

    brief      the prompt and the lyrics → what is wanted (genre, mood, tempo, key, length)
    genres     what makes each genre itself, as data (``genre`` says how it is written down)
    patterns   how chords, basses and tunes are played, by name
    listen     a reference's tempo, key and energy
    form       sections and their lengths
    harmony    chords and voice-leading
    melody     motifs and tunes
    accompany, drums       chords, riffs, basses; the drummer
    arrange    all of these: a brief becomes a ``score``
    tones      oscillators, vibrating bodies, shaped noise
    instruments, drumkit   notes and strokes as samples
    render     notes placed in time, with people's inaccuracies
    effects, loudness      the mix and its measurement
    encode     MP3 and OGG
"""
