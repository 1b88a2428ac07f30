VirtualHost "BÜCHER.example"
	one = 1
VirtualHost "straße.example"
	two = 2
VirtualHost "ＦＵＬＬ.example"
	three = "ünïcode välue"
VirtualHost "xn--bcher-kva.example"
VirtualHost "a b"
