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

	useScript  = redis.NewScript(useLua)
	takeScript = redis.NewScript(takeLua)
)
