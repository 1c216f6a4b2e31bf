"""The way of a delivery through this process, one room per step; `consumer.py` is the spine."""
