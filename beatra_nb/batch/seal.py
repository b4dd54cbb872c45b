"""How the key goes to a cluster's workers: sealed for each of them, so that nothing on the way holds it in the open.

A cluster's messages pass through its scheduler, and at the finest log level into its logs; over plain TCP anybody on
the network can read them. So a worker draws a number (Diffie and Hellman's, over the 2048-bit group of RFC 3526),
shows what may be known of it, and the key travels under what only the two of them can work out.

That hides the key from whoever reads along. It is no proof of who a worker is: like all that a cluster is given to
do, the key goes to those who may connect to its scheduler. ``tls://`` is there to say who may.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NoReturn

from beatra_nb.core.errors import ConfigurationError
from beatra_nb.core.settings import Secret

_PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74"
    "020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F1437"
    "4FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF05"
    "98DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
    "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
_BASE = 2
_SIZE = 256  # bytes of a number
_BITS = 512  # of what is drawn: more than the group's strength asks for
_MARK = 32  # bytes that show whether anything was changed


class Lock:
    """One side's half of an agreement; it opens what was sealed for it.

    Attributes
    ----------
    public : int
        What the other side needs to seal something.

    Examples
    --------
    >>> lock = Lock()
    >>> lock.open(*seal(Secret("sk-a-key"), lock.public)).reveal()
    'sk-a-key'
    """

    def __init__(self) -> None:
        drawn = secrets.randbits(_BITS) | 1

        # A closure, as in Secret: no look at the object shows the number.
        def agree(theirs: int) -> int:
            return pow(theirs, drawn, _PRIME)

        self._agree = agree
        self.public = pow(_BASE, drawn, _PRIME)

    def open(self, theirs: int, sealed: bytes) -> Secret:
        """Return what was sealed.

        Raises
        ------
        ConfigurationError
            If it was sealed for somebody else, or changed on its way.
        """
        data, mark = sealed[:-_MARK], sealed[-_MARK:]
        pad, marking = self._pads(theirs, len(data))
        if not hmac.compare_digest(mark, _marked(marking, data)):
            raise ConfigurationError(
                "The key did not arrive as it was sent.",
                hint="Run the batch again; is the cluster's network sound?",
            )
        return Secret(_mixed(data, pad).decode())

    def _pads(self, theirs: int, size: int) -> tuple[bytes, bytes]:
        if not 1 < theirs < _PRIME - 1:  # numbers with which anybody could work out the rest
            raise ConfigurationError(
                "A worker of the cluster took part in the agreement with an unfit number."
            )
        common = self._agree(theirs).to_bytes(_SIZE, "big")
        stream = hashlib.shake_256(b"beatra_nb seal" + common).digest(size + _MARK)
        return stream[:size], stream[size:]

    def __repr__(self) -> str:
        return "Lock(•••)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A lock stays where it was made.")


def seal(key: Secret, theirs: int) -> tuple[int, bytes]:
    """Seal a key for whoever has shown this number; gives our number and the sealed key, for ``Lock.open``."""
    ours = Lock()
    word = key.reveal().encode()
    pad, marking = ours._pads(theirs, len(word))
    data = _mixed(word, pad)
    return ours.public, data + _marked(marking, data)


def _mixed(data: bytes, pad: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, pad, strict=True))


def _marked(marking: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=marking, digest_size=_MARK).digest()
