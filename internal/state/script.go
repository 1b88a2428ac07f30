package state

import (
	_ "embed" // the scripts

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed use.lua
	useLua string
	//go:embed take.lua
	takeLua string
	//go:embed guard.lua
	guardLua string
	//go:embed forgive.lua
	forgiveLua string

	useScript     = redis.NewScript(useLua)
	takeScript    = redis.NewScript(takeLua)
	guardScript   = redis.NewScript(guardLua)
	forgiveScript = redis.NewScript(forgiveLua)
)
