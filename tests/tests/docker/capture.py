"""Prints every frame that crosses a bridge, in hex, one a line; ends with the one that holds the last word.

argv: the bridge's name, the last word. Says `capturing` once nothing can escape it any more.
"""

import socket, struct, sys

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC, ETH_P_ALL = 263, 1, 1, 3

bridge, last = sys.argv[1], sys.argv[2].encode()
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
frames.bind((bridge, 0))
# A bridge shows what it forwards between its ports only while it is promiscuous.
promiscuous = struct.pack("iHH8s", socket.if_nametoindex(bridge), PACKET_MR_PROMISC, 0, b"")
frames.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
print("capturing", flush=True)
frame = b""
while last not in frame:
    frame = frames.recv(1 << 17)
    print(frame.hex(), flush=True)
