"""The method, a file a stage: propose, overlap, crops, rank; slip.py joins them."""
