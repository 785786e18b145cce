std = "lua54"
max_line_length = 110
self = false -- a method that does not look at self is still a method

-- A declaration for editors: its functions have no bodies.
files["lua/wsb/core.d.lua"] = { unused = false }
