package xmlstream

// Name is an expanded name: the namespace that the prefix stood for, and the
// local part.
type Name struct {
	Space, Local string
}

// Attr is an attribute other than a namespace declaration. Attributes without
// a prefix have no namespace.
type Attr struct {
	Name  Name
	Value string
}

// Element is a complete element with its namespaces resolved.
type Element struct {
	Name Name
	Attr []Attr
	// Text is the character data directly inside the element, in one piece,
	// entities and CDATA sections resolved.
	Text     string
	Children []*Element
}

// Get returns the value of the attribute without a namespace that has the
// given name, and "" where there is none.
func (e *Element) Get(local string) string {
	for i := range e.Attr {
		if e.Attr[i].Name.Local == local && e.Attr[i].Name.Space == "" {
			return e.Attr[i].Value
		}
	}
	return ""
}

// Child returns the first child with the given name, or nil.
func (e *Element) Child(space, local string) *Element {
	for _, c := range e.Children {
		if c.Name.Local == local && c.Name.Space == space {
			return c
		}
	}
	return nil
}

// Header is the opening tag of a stream, <stream:stream …>.
type Header struct {
	Name Name
	Attr []Attr
	// Declared holds the namespaces that the header declares, by prefix; ""
	// is the default namespace. Every element of the stream is read with
	// them in scope.
	Declared map[string]string
}

// Get is like [Element.Get].
func (h *Header) Get(local string) string {
	return (&Element{Attr: h.Attr}).Get(local)
}
