"""A fit of more rows than one kernel matrix holds: M from blocks of rows, then one kernel machine a leaf of a tree.

Each module is one step; its functions take and return tensors, so that any process can do any of them.
"""
