package luaconf

import (
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// tableFuncs are the functions of the table library that need a bound.
func (e *evaluator) tableFuncs() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"concat": e.tableConcat, "insert": e.tableInsert, "pack": tablePack, "sort": e.tableSort}
}

func (e *evaluator) tableConcat(L *lua.LState) int {
	t, sep := L.CheckTable(1), L.OptString(2, "")
	first, last := L.OptInt(3, 1), L.OptInt(4, t.Len())
	var out strings.Builder
	for i := first; i <= last; i++ {
		v := t.RawGet(lua.LNumber(i))
		if !lua.LVCanConvToString(v) {
			L.RaiseError("invalid value (at index %d) in table for 'concat'", i)
		}
		part := text(v)
		if i < last {
			part += sep
		}
		e.budget.makeString(L, len(part))
		out.WriteString(part)
	}
	return e.pushString(L, out.String())
}

func (e *evaluator) tableInsert(L *lua.LState) int {
	t := L.CheckTable(1)
	n := t.Len()
	e.budget.spend(L, n/1024)
	switch L.GetTop() {
	case 2:
		if n >= maxArrayIndex-2 {
			L.RaiseError("a list has more than %d elements", maxArrayIndex-2)
		}
		t.Append(L.Get(2))
	case 3:
		pos := L.CheckInt(2)
		if pos < 1 || pos > n+1 || n >= maxArrayIndex-2 {
			L.ArgError(2, "position out of bounds")
		}
		t.Insert(pos, L.Get(3))
	default:
		L.RaiseError("wrong number of arguments to 'insert'")
	}
	return 0
}

func tablePack(L *lua.LState) int {
	t, n := L.NewTable(), L.GetTop()
	for i := 1; i <= n; i++ {
		t.RawSetInt(i, L.Get(i))
	}
	t.RawSetString("n", lua.LNumber(n))
	L.Push(t)
	return 1
}

func (e *evaluator) tableSort(L *lua.LState) int {
	t := L.CheckTable(1)
	n := t.Len()
	less := func(a, b lua.LValue) bool {
		e.budget.steps++
		return L.LessThan(a, b)
	}
	if fn := L.OptFunction(2, nil); fn != nil {
		less = func(a, b lua.LValue) bool {
			L.Push(fn)
			L.Push(a)
			L.Push(b)
			L.Call(2, 1)
			ok := lua.LVAsBool(L.Get(-1))
			L.Pop(1)
			return ok
		}
	}
	e.budget.spend(L, n)
	values := make([]lua.LValue, n)
	for i := range values {
		values[i] = t.RawGetInt(i + 1)
	}
	sort.SliceStable(values, func(i, j int) bool { return less(values[i], values[j]) })
	for i, v := range values {
		t.RawSetInt(i+1, v)
	}
	return 0
}
