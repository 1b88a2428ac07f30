package luaconf

import (
	"errors"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// nameprep is RFC 3491 with unassigned code points allowed, as Prosody prepares the names of hosts (util.encodings).
var nameprep = stringprep.Profile{
	Mappings:  []stringprep.Mapping{stringprep.TableB1, stringprep.TableB2},
	Normalize: true,
	Prohibits: []stringprep.Set{
		stringprep.TableC1_2, stringprep.TableC2_2, stringprep.TableC3, stringprep.TableC4, stringprep.TableC5,
		stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9,
	},
	CheckBiDi: true,
}

var errName = errors.New("contains forbidden characters")

// prepareName returns the form of a host name that Prosody keeps. The limit of 1023 bytes is Prosody's.
func prepareName(name string) (string, error) {
	if !utf8.ValidString(name) || len(name) > 1023 {
		return "", errName
	}
	prepared, err := nameprep.Prepare(name)
	if err != nil || prepared == "" || len(prepared) > 1023 {
		return "", errName
	}
	return prepared, nil
}
