"""What people import: the folder ``factrfm`` here is installed as a package of that name."""
