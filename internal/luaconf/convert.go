package luaconf

import (
	"fmt"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// Bounds of the plain data that an evaluation returns. Without them a few tables that hold each other many times over
// would unfold into something without end.
const (
	maxValues     = 200_000
	maxValueDepth = 50
)

// converter turns Lua values into plain data.
type converter struct {
	e     *evaluator
	count int
}

// convert returns the sections as plain data.
func (e *evaluator) convert() ([]*Host, *Error) {
	c := &converter{e: e}
	hosts := make([]*Host, 0, len(e.hosts))
	for _, state := range e.hosts {
		h := &Host{Name: state.name, Pos: state.pos, Component: state.component, Options: make(map[string]Option, len(state.options))}
		if state.name == "*" {
			h.Pos = Pos{}
		}
		for name, o := range state.options {
			value, err := c.value(o.value, 0)
			if err != nil {
				return nil, &Error{o.pos, fmt.Sprintf("option %s: %v", printable(name), err)}
			}
			h.Options[name] = Option{value, o.pos}
		}
		hosts = append(hosts, h)
	}
	return hosts, nil
}

func (c *converter) value(v lua.LValue, depth int) (Value, error) {
	if c.count++; c.count > maxValues {
		return Value{}, fmt.Errorf("the config holds more than %d values", maxValues)
	}
	if depth > maxValueDepth {
		return Value{}, fmt.Errorf("tables are nested more than %d deep, or a table contains itself", maxValueDepth)
	}
	switch v := v.(type) {
	case *lua.LNilType:
		return Value{}, nil
	case lua.LBool:
		return Value{Kind: Bool, Bool: bool(v)}, nil
	case lua.LNumber:
		return Value{Kind: Number, Number: float64(v)}, nil
	case lua.LString:
		return Value{Kind: String, Str: string(v)}, nil
	case *lua.LTable:
		return c.table(c.behindProxy(v), depth)
	}
	return Value{Kind: Opaque, Str: v.Type().String()}, nil
}

// behindProxy returns the table of the option that v stands for, if it is a proxy (`a = b`, where b is a list).
func (c *converter) behindProxy(v *lua.LTable) *lua.LTable {
	mt, ok := v.Metatable.(*lua.LTable)
	if !ok || mt.RawGetString(proxyMark) == lua.LNil {
		return v
	}
	c.e.L.Push(mt.RawGetString(proxyMark))
	if err := c.e.L.PCall(0, 1, nil); err != nil {
		return v
	}
	defer c.e.L.Pop(1)
	if behind, ok := c.e.L.Get(-1).(*lua.LTable); ok {
		return behind
	}
	return v
}

func (c *converter) table(t *lua.LTable, depth int) (Value, error) {
	out := Value{Kind: Table}
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	for i := 1; i <= n; i++ {
		v, err := c.value(t.RawGetInt(i), depth+1)
		if err != nil {
			return Value{}, err
		}
		out.List = append(out.List, v)
	}
	var failed error
	t.ForEach(func(k, v lua.LValue) {
		if i, ok := k.(lua.LNumber); ok && float64(i) == math.Trunc(float64(i)) && i >= 1 && int(i) <= n || failed != nil {
			return
		}
		var value Value
		if value, failed = c.value(v, depth+1); failed == nil {
			if out.Map == nil {
				out.Map = make(map[string]Value)
			}
			out.Map[text(k)] = value
		}
	})
	return out, failed
}
