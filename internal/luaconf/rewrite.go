package luaconf

import (
	"fmt"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// Names of the functions that rewriting puts into a program. No source can spell them.
const (
	concatName = "\x00concat" // concat(a, b, ...): a .. b .. ...
	setName    = "\x00set"    // set(t, k, v): t[k] = v
	keyName    = "\x00key"    // key(k): k, in { [k] = v }
)

// maxDepth bounds the depth of the syntax tree, for the compiler is recursive and a Go stack that overflows takes the
// program with it.
const maxDepth = 200

// maxConcat is how many operands one call gets: a call has its arguments in registers, of which there are 200.
const maxConcat = 64

// rewriter puts a guard before each operation that could take unbounded memory in one step, and notes the lines of the
// options in tables that follow VirtualHost and Component.
type rewriter struct {
	file   string
	tables *[]fieldLines
}

// fieldLines are the lines of the named fields of one table expression.
type fieldLines map[string]int

type tooDeep struct{ line int }

// rewrite changes the tree in place.
func rewrite(file string, chunk []ast.Stmt, tables *[]fieldLines) (err *Error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case tooDeep:
			err = &Error{Pos{file, r.line}, fmt.Sprintf("expressions or blocks are nested more than %d deep", maxDepth)}
		default:
			panic(r)
		}
	}()
	r := &rewriter{file, tables}
	r.block(chunk, 0)
	return nil
}

func (r *rewriter) block(stmts []ast.Stmt, depth int) {
	for i, st := range stmts {
		stmts[i] = r.stmt(st, depth+1)
	}
}

func (r *rewriter) stmt(st ast.Stmt, depth int) ast.Stmt {
	if depth > maxDepth {
		panic(tooDeep{st.Line()})
	}
	switch st := st.(type) {
	case *ast.AssignStmt:
		return r.assign(st, depth)
	case *ast.LocalAssignStmt:
		r.exprs(st.Exprs, depth)
	case *ast.FuncCallStmt:
		st.Expr = r.expr(st.Expr, depth)
	case *ast.DoBlockStmt:
		r.block(st.Stmts, depth)
	case *ast.WhileStmt:
		st.Condition = r.expr(st.Condition, depth)
		r.block(st.Stmts, depth)
	case *ast.RepeatStmt:
		st.Condition = r.expr(st.Condition, depth)
		r.block(st.Stmts, depth)
	case *ast.IfStmt:
		st.Condition = r.expr(st.Condition, depth)
		r.block(st.Then, depth)
		r.block(st.Else, depth)
	case *ast.NumberForStmt:
		st.Init, st.Limit = r.expr(st.Init, depth), r.expr(st.Limit, depth)
		if st.Step != nil {
			st.Step = r.expr(st.Step, depth)
		}
		r.block(st.Stmts, depth)
	case *ast.GenericForStmt:
		r.exprs(st.Exprs, depth)
		r.block(st.Stmts, depth)
	case *ast.FuncDefStmt:
		if st.Name.Func != nil {
			st.Name.Func = r.expr(st.Name.Func, depth)
		}
		if st.Name.Receiver != nil {
			st.Name.Receiver = r.expr(st.Name.Receiver, depth)
		}
		r.block(st.Func.Stmts, depth)
	case *ast.ReturnStmt:
		r.exprs(st.Exprs, depth)
	}
	return st
}

// assign replaces t[k] = v by a call of set. With several targets everything is evaluated first, as in Lua.
func (r *rewriter) assign(st *ast.AssignStmt, depth int) ast.Stmt {
	r.exprs(st.Rhs, depth)
	guarded := false
	for _, l := range st.Lhs {
		if l, ok := l.(*ast.AttrGetExpr); ok {
			l.Object, l.Key = r.expr(l.Object, depth), r.expr(l.Key, depth)
			guarded = guarded || !isName(l.Key)
		}
	}
	if !guarded {
		return st
	}
	at := func(n ast.PositionHolder) { n.SetLine(st.Line()); n.SetLastLine(st.LastLine()) }
	ident := func(name string) ast.Expr { e := &ast.IdentExpr{Value: name}; at(e); return e }
	set := func(t, k, v ast.Expr) ast.Stmt {
		call := &ast.FuncCallExpr{Func: ident(setName), Args: []ast.Expr{t, k, v}}
		at(call)
		s := &ast.FuncCallStmt{Expr: call}
		at(s)
		return s
	}
	if len(st.Lhs) == 1 && len(st.Rhs) == 1 {
		l := st.Lhs[0].(*ast.AttrGetExpr)
		return set(l.Object, l.Key, st.Rhs[0])
	}
	targets, values := &ast.LocalAssignStmt{}, &ast.LocalAssignStmt{Exprs: st.Rhs}
	at(targets)
	at(values)
	var sets []ast.Stmt
	for i, l := range st.Lhs {
		n := strconv.Itoa(i)
		value := ident("\x00v" + n)
		values.Names = append(values.Names, "\x00v"+n)
		if l, ok := l.(*ast.AttrGetExpr); ok {
			targets.Names = append(targets.Names, "\x00t"+n, "\x00k"+n)
			targets.Exprs = append(targets.Exprs, l.Object, l.Key)
			sets = append(sets, set(ident("\x00t"+n), ident("\x00k"+n), value))
			continue
		}
		s := &ast.AssignStmt{Lhs: []ast.Expr{l}, Rhs: []ast.Expr{value}}
		at(s)
		sets = append(sets, s)
	}
	block := &ast.DoBlockStmt{Stmts: append([]ast.Stmt{targets, values}, sets...)}
	at(block)
	return block
}

func isName(k ast.Expr) bool { _, ok := k.(*ast.StringExpr); return ok }

func (r *rewriter) exprs(list []ast.Expr, depth int) {
	for i, e := range list {
		list[i] = r.expr(e, depth)
	}
}

func (r *rewriter) expr(e ast.Expr, depth int) ast.Expr {
	if depth++; depth > maxDepth {
		panic(tooDeep{e.Line()})
	}
	switch e := e.(type) {
	case *ast.StringConcatOpExpr:
		return r.concat(e, depth)
	case *ast.AttrGetExpr:
		e.Object, e.Key = r.expr(e.Object, depth), r.expr(e.Key, depth)
	case *ast.TableExpr:
		r.table(e, depth)
	case *ast.FuncCallExpr:
		if e.Func != nil {
			e.Func = r.expr(e.Func, depth)
		}
		if e.Receiver != nil {
			e.Receiver = r.expr(e.Receiver, depth)
		}
		r.exprs(e.Args, depth)
		r.noteLines(e)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs, depth), r.expr(e.Rhs, depth)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs, depth), r.expr(e.Rhs, depth)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = r.expr(e.Lhs, depth), r.expr(e.Rhs, depth)
	case *ast.UnaryMinusOpExpr:
		e.Expr = r.expr(e.Expr, depth)
	case *ast.UnaryNotOpExpr:
		e.Expr = r.expr(e.Expr, depth)
	case *ast.UnaryLenOpExpr:
		e.Expr = r.expr(e.Expr, depth)
	case *ast.FunctionExpr:
		r.block(e.Stmts, depth)
	}
	return e
}

func (r *rewriter) table(e *ast.TableExpr, depth int) {
	for _, f := range e.Fields {
		f.Value = r.expr(f.Value, depth)
		if f.Key != nil && !isName(f.Key) {
			key := &ast.FuncCallExpr{Func: &ast.IdentExpr{Value: keyName}, Args: []ast.Expr{r.expr(f.Key, depth)}, AdjustRet: true}
			for _, n := range []ast.Expr{key, key.Func} {
				n.SetLine(f.Value.Line())
				n.SetLastLine(f.Value.LastLine())
			}
			f.Key = key
		}
	}
}

// concat replaces a chain of `..` by a call, or by a call of calls when the chain is long.
func (r *rewriter) concat(e *ast.StringConcatOpExpr, depth int) ast.Expr {
	operands := []ast.Expr{r.expr(e.Lhs, depth)}
	rest := e.Rhs
	for {
		next, ok := rest.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		operands = append(operands, r.expr(next.Lhs, depth))
		rest = next.Rhs
	}
	operands = append(operands, r.expr(rest, depth))
	for i, o := range operands {
		// An operand is one value, also where the last of a call's arguments may be many.
		switch o := o.(type) {
		case *ast.FuncCallExpr:
			o.AdjustRet = true
		case *ast.Comma3Expr:
			o.AdjustRet = true
		}
		operands[i] = o
	}
	for len(operands) > maxConcat {
		last := operands[len(operands)-maxConcat:]
		operands = append(operands[:len(operands)-maxConcat:len(operands)-maxConcat], r.concatCall(e, last))
	}
	return r.concatCall(e, operands)
}

func (r *rewriter) concatCall(e ast.Expr, operands []ast.Expr) ast.Expr {
	call := &ast.FuncCallExpr{Func: &ast.IdentExpr{Value: concatName}, Args: operands, AdjustRet: true}
	for _, n := range []ast.Expr{call, call.Func} {
		n.SetLine(e.Line())
		n.SetLastLine(e.LastLine())
	}
	return call
}

// noteLines gives `VirtualHost "x" { ... }` and its like a second argument, which says where in r.tables the lines of
// the options are.
func (r *rewriter) noteLines(e *ast.FuncCallExpr) {
	if len(e.Args) != 1 || !isHostCall(e.Func) {
		return
	}
	table, ok := e.Args[0].(*ast.TableExpr)
	if !ok {
		return
	}
	lines := make(fieldLines, len(table.Fields))
	for _, f := range table.Fields {
		if key, ok := f.Key.(*ast.StringExpr); ok {
			lines[key.Value] = f.Value.Line()
		}
	}
	id := &ast.NumberExpr{Value: strconv.Itoa(len(*r.tables))}
	id.SetLine(e.Line())
	id.SetLastLine(e.LastLine())
	e.Args = append(e.Args, id)
	*r.tables = append(*r.tables, lines)
}

// isHostCall says whether f is VirtualHost "x", Component "x" or Component "x" "module".
func isHostCall(f ast.Expr) bool {
	for range 2 {
		call, ok := f.(*ast.FuncCallExpr)
		if !ok || call.Func == nil {
			return false
		}
		if name, ok := call.Func.(*ast.IdentExpr); ok {
			switch name.Value {
			case "VirtualHost", "Host", "host", "Component", "component":
				return true
			}
			return false
		}
		f = call.Func
	}
	return false
}
