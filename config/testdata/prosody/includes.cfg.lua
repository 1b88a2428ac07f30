global_before = 1
VirtualHost "main.example"
Include "conf.d/*.cfg.lua"
after_include = "still main.example"
Include "./conf.d/a.cfg.lua"
