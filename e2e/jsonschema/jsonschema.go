// Package jsonschema makes the JSON Schema of the plugin's configuration from the source of the
// plugin: the type Config, and its comments in the form that config.go keeps to.
//
// The schema says what a configuration may be by name and by type: keys, types, bounds of numbers,
// enumerations. Whatever depends on several keys, on the environment or on the syntax of a text is
// left to the plugin. The types are those that Traefik decodes and the plugin accepts:
//
//	text          a string, or an integer
//	boolean       a boolean, or a string that holds one
//	number        a number, or a string that holds one
//	list of text  a list, or a string with commas
//	any of these  null: no value
//
// A field whose comment says "Refused: none" is required, and has a value.
//
// The type of a field of type any follows from its comment: a boolean has the default true or false;
// a number has bounds, and is an integer if the comment says so ("integer", "number of") or nothing
// below 1 is accepted; "decimal" means a decimal number, which a string should hold.
package jsonschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	// File is where the schema is, relative to the repository's root.
	File = "docs/chat-completion.schema.json"

	// ID identifies the schema.
	ID = "https://raw.githubusercontent.com/modelroute/chatcompletion/main/" + File

	// Config is the part of the schema for the configuration alone.
	Config = ID + "#/$defs/Config"
)

// Generate returns the schema that the source of the plugin in a folder defines.
func Generate(folder string) ([]byte, error) {
	source, err := readSource(folder)
	if err != nil {
		return nil, err
	}
	g := &generator{source: source, definitions: map[string]*node{}}
	if _, err := g.define("Config"); err != nil {
		return nil, err
	}
	whole := document()
	for _, name := range source.names {
		if definition := g.definitions[name]; definition != nil {
			whole.Definitions = append(whole.Definitions, member{name, definition})
		}
	}
	whole.Definitions = append(whole.Definitions, embeddings()...)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(whole)
	return shortList.ReplaceAllFunc(text.Bytes(), func(list []byte) []byte {
		return lineBreak.ReplaceAllFunc(list, func(gap []byte) []byte {
			if gap[0] == ',' {
				return []byte(", ")
			}
			return nil
		})
	}), err
}

// Lists of scalars, which fit into a line, and the white space in them.
var (
	shortList = regexp.MustCompile(`\[\n[^\[\]{}]*\n *\]`)
	lineBreak = regexp.MustCompile(`,?\n *`)
)

// node is a schema. Its members are in the order in which they are written.
type node struct {
	Schema        string   `json:"$schema,omitempty"`
	ID            string   `json:"$id,omitempty"`
	Title         string   `json:"title,omitempty"`
	Description   string   `json:"description,omitempty"`
	Ref           string   `json:"$ref,omitempty"`
	Type          []string `json:"type,omitempty"`
	Const         string   `json:"const,omitempty"`
	Enum          []string `json:"enum,omitempty"`
	Pattern       string   `json:"pattern,omitempty"`
	Minimum       any      `json:"minimum,omitempty"`
	Maximum       any      `json:"maximum,omitempty"`
	Default       any      `json:"default,omitempty"`
	Items         *node    `json:"items,omitempty"`
	AnyOf         []*node  `json:"anyOf,omitempty"`
	If            *node    `json:"if,omitempty"`
	Then          *node    `json:"then,omitempty"`
	Else          *node    `json:"else,omitempty"`
	Required      []string `json:"required,omitempty"`
	Properties    members  `json:"properties,omitempty"`
	PropertyNames *node    `json:"propertyNames,omitempty"`
	Additional    any      `json:"additionalProperties,omitempty"` // a schema, or false
	Definitions   members  `json:"$defs,omitempty"`
}

// member is a schema with its name.
type member struct {
	name string
	node *node
}

// members are schemas by name, in order.
type members []member

// MarshalJSON returns an object.
func (m members) MarshalJSON() ([]byte, error) {
	object := []byte{'{'}
	for i, member := range m {
		name, err := json.Marshal(member.name)
		if err != nil {
			return nil, err
		}
		var value bytes.Buffer
		encoder := json.NewEncoder(&value)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(member.node); err != nil {
			return nil, err
		}
		if i > 0 {
			object = append(object, ',')
		}
		object = append(append(append(object, name...), ':'), value.Bytes()...)
	}
	return append(object, '}'), nil
}

// document returns the schema without definitions: that of a document with the configuration in it,
// or of the configuration alone.
func document() *node {
	return &node{
		Schema: "https://json-schema.org/draft/2020-12/schema",
		ID:     ID,
		Title:  "Chat Completion for Traefik",
		Description: "A dynamic configuration of Traefik, a Kubernetes manifest, or the configuration of the plugin alone. " +
			"In the first two, the plugin is the one that Traefik's static configuration names " + gateway.PluginKey + ".",
		If:   &node{Required: []string{"apiVersion"}},
		Then: &node{Ref: "#/$defs/Manifest"},
		Else: &node{
			If: &node{AnyOf: []*node{
				{Required: []string{"http"}}, {Required: []string{"tcp"}}, {Required: []string{"udp"}},
				{Required: []string{"tls"}, Properties: members{{"tls", &node{AnyOf: []*node{
					{Required: []string{"certificates"}}, {Required: []string{"options"}}, {Required: []string{"stores"}},
				}}}}},
			}},
			Then: &node{Ref: "#/$defs/DynamicConfiguration"},
			Else: &node{Ref: "#/$defs/Config"},
		},
	}
}

// embeddings returns the definitions of the documents that hold the configuration.
func embeddings() members {
	within := func(schema *node, keys ...string) *node {
		for i := len(keys) - 1; i >= 0; i-- {
			if keys[i] == "*" {
				schema = &node{Type: []string{"object", "null"}, Additional: schema}
			} else {
				schema = &node{Type: []string{"object", "null"}, Properties: members{{keys[i], schema}}}
			}
		}
		return schema
	}
	config := &node{Ref: "#/$defs/Config"}
	dynamic := within(config, "http", "middlewares", "*", "plugin", gateway.PluginKey)
	dynamic.Description = "A dynamic configuration of Traefik. Only the configuration of the plugin is validated."
	manifest := &node{
		Description: "A manifest. Only the configuration of the plugin in a Middleware is validated.",
		Type:        []string{"object"},
		If:          &node{Required: []string{"kind"}, Properties: members{{"kind", &node{Const: "Middleware"}}}},
		Then:        within(config, "spec", "plugin", gateway.PluginKey),
	}
	return members{{"DynamicConfiguration", dynamic}, {"Manifest", manifest}}
}

// generator makes the definitions of the structs.
type generator struct {
	source      *source
	definitions map[string]*node
}

// define makes the definition of a struct and of the structs in it, and returns a reference to it.
func (g *generator) define(name string) (*node, error) {
	reference := &node{Ref: "#/$defs/" + name}
	if g.definitions[name] != nil {
		return reference, nil
	}
	declared, isDeclared := g.source.structs[name]
	if !isDeclared {
		return nil, fmt.Errorf("the source declares no struct %s", name)
	}
	description := g.source.withKeys(g.source.plain(declared.comment), declared)
	if name == "Config" { // the other paragraphs are for readers of the source
		description, _, _ = strings.Cut(description, "\n")
	}
	definition := &node{Description: description, Type: []string{"object", "null"}}
	if !declared.isOpen {
		definition.Additional = false
	}
	g.definitions[name] = definition
	for _, f := range declared.fields {
		property, err := g.property(f, declared)
		if err != nil {
			return nil, fmt.Errorf("%s.%s: %w", name, f.name, err)
		}
		definition.Properties = append(definition.Properties, member{keyOf(f.name), property})
		if g.remarkOn(f, declared).isRequired() {
			definition.Required = append(definition.Required, keyOf(f.name))
			definition.Type = []string{"object"} // else null, which has no fields, would be accepted
		}
	}
	return reference, nil
}

// property returns the schema of a field of a struct.
func (g *generator) property(f field, of structType) (*node, error) {
	said := g.remarkOn(f, of)
	schema, err := g.schemaOf(f.typ, g.original(said))
	if err != nil {
		return nil, err
	}
	if said.isRequired() {
		schema.Type = slices.DeleteFunc(schema.Type, func(name string) bool { return name == "null" })
		for _, alternative := range schema.AnyOf {
			if alternative.Pattern == noValuePattern {
				alternative.Pattern = templatePattern
			}
		}
	}
	schema.Description = g.source.withKeys(said.whole, of)
	return schema, nil
}

// remarkOn returns the remark on a field of a struct. What the struct refuses in each field counts if
// the field's own comment refuses nothing.
func (g *generator) remarkOn(f field, of structType) remark {
	said := newRemark(g.source.plain(f.comment))
	if inEach := refusedInEach.FindStringSubmatch(g.source.plain(of.comment)); inEach != nil && said.refused == "" {
		said.refused = inEach[1]
	}
	return said
}

// original returns the remark on the field that a field is like, with the default that the field
// itself has.
func (g *generator) original(said remark) remark {
	found := likeAnother.FindStringSubmatch(said.synopsis)
	if found == nil {
		return said
	}
	of := g.source.structs[found[1]]
	for _, f := range of.fields {
		if f.name == found[2] {
			other := g.remarkOn(f, of)
			if said.byDefault != "" {
				other.byDefault = said.byDefault
			}
			return other
		}
	}
	return said
}

// schemaOf returns the schema of a type, given the remark about the field.
func (g *generator) schemaOf(typ ast.Expr, said remark) (*node, error) {
	switch typ := typ.(type) {
	case *ast.Ident:
		switch typ.Name {
		case "string":
			return g.text(said)
		case "any":
			return untyped(said)
		}
		return g.define(typ.Name)
	case *ast.StarExpr:
		return g.schemaOf(typ.X, said)
	case *ast.ArrayType:
		element, isText, err := g.elementOf(typ.Elt)
		if err != nil {
			return nil, err
		}
		list := &node{Type: []string{"array", "null"}, Items: element}
		if isText {
			list.Type = []string{"array", "string", "integer", "null"} // Traefik splits a string at its commas
		}
		return list, nil
	case *ast.MapType:
		return g.mapOf(typ, said)
	}
	return nil, fmt.Errorf("type %T is unknown", typ)
}

// elementOf returns the schema of the elements of a list or map, and whether they are text. Such an
// element has a value.
func (g *generator) elementOf(typ ast.Expr) (schema *node, isText bool, err error) {
	if element, isIdentifier := typ.(*ast.Ident); isIdentifier && element.Name == "string" {
		return &node{Type: []string{"string", "integer"}}, true, nil
	}
	schema, err = g.schemaOf(typ, remark{})
	return schema, false, err
}

// mapOf returns the schema of a map with names that the configuration chooses.
func (g *generator) mapOf(typ *ast.MapType, said remark) (*node, error) {
	schema := &node{Type: []string{"object", "null"}}
	if element, isIdentifier := typ.Value.(*ast.Ident); isIdentifier && element.Name == "any" {
		return schema, nil
	}
	element, _, err := g.elementOf(typ.Value)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(said.refused, "other kinds") {
		element = &node{Type: []string{"string"}, AnyOf: enumeration(said.code)}
	}
	schema.Additional = element
	return schema, nil
}

// enumeration returns the alternatives of a text with some values: one of them, or none.
func enumeration(values []string) []*node {
	return []*node{{Enum: values}, {Pattern: noValuePattern}}
}

// Patterns of strings. They accept white space where the plugin does, and templates of Traefik's
// file provider.
const (
	booleanPattern  = `^\s*([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])?\s*$|\{\{`
	countPattern    = `^(\s*[1-9][0-9]*\s*)?$|\{\{`
	integerPattern  = `^(\s*-?(0|[1-9][0-9]*)\s*)?$|\{\{`
	secondsPattern  = `^\s*[1-9][0-9]*\s*$`
	numberPattern   = `^(\s*-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*)?$|\{\{`
	decimalPattern  = `^(\s*[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*)?$|\{\{`
	durationPattern = `^\s*([-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)?\s*$|\{\{`
	pathPattern     = `^\s*(/.*)?$|\{\{`
	noValuePattern  = `^$|\{\{`
	templatePattern = `\{\{`
	urlPattern      = `^\s*(https?://.*)?$|\{\{`
)

// text returns the schema of a string.
func (g *generator) text(said remark) (*node, error) {
	schema := &node{Type: []string{"string", "null"}}
	values := said.values()
	if strings.HasPrefix(said.refused, "other names") {
		values = g.source.providers
	}
	least, _ := said.bounds()
	_, err := time.ParseDuration(least)
	switch {
	case values != nil:
		schema.AnyOf = enumeration(values)
	case said.isEnumeration():
		return nil, fmt.Errorf("the comment lists no values: write %q, or one in each line of a block of code", "Name is one, two or three.")
	case err == nil && least != "":
		said.describeDuration(schema)
	case strings.Contains(said.synopsis, "absolute path of") || strings.Contains(said.refused, "path without a leading slash"):
		schema.Pattern = pathPattern
	case strings.Contains(said.refused, "other schemes than http and https"):
		schema.Pattern = urlPattern
	default:
		schema.Type = []string{"string", "integer", "null"}
	}
	if byDefault := said.literal(); byDefault != "" && !g.source.isField(byDefault) {
		schema.Default = byDefault
	}
	return schema, nil
}

// wholeNumber matches what comments say about integers.
var wholeNumber = regexp.MustCompile(`\binteger\b|\bnumber of\b`)

// describeDuration describes a duration. Spans of the calendar and numbers of seconds are accepted if
// the comment says so.
func (r remark) describeDuration(schema *node) {
	schema.Pattern = durationPattern
	if spans := calendarSpan.FindAllString(r.synopsis, -1); spans != nil {
		schema.Pattern += `|^\s*(` + strings.Join(spans, "|") + `)\s*$`
	}
	if strings.Contains(r.synopsis, "number without a unit") {
		schema.Type, schema.Pattern = []string{"string", "integer", "null"}, schema.Pattern+"|"+secondsPattern
		schema.Minimum = json.Number("1")
	}
}

// untyped returns the schema of a field of type any.
func untyped(said remark) (*node, error) {
	least, most := said.bounds()
	first, _, _ := strings.Cut(strings.TrimRight(said.byDefault, "."), " ")
	first = strings.TrimRight(first, ",;")
	schema := &node{}
	switch lowest, err := strconv.ParseFloat(least, 64); {
	case first == "true" || first == "false":
		schema.Type, schema.Pattern = []string{"boolean", "string", "null"}, booleanPattern
	case strings.Contains(said.synopsis, "decimal") || strings.Contains(said.refused, "not a decimal number"):
		schema.Type, schema.Pattern = []string{"string", "number", "null"}, decimalPattern
	case wholeNumber.MatchString(said.synopsis) || (err == nil && lowest >= 1):
		schema.Type, schema.Pattern = []string{"integer", "string", "null"}, integerPattern
		if lowest >= 1 {
			schema.Pattern = countPattern
		}
	case err == nil:
		schema.Type, schema.Pattern = []string{"number", "string", "null"}, numberPattern
	default:
		return nil, fmt.Errorf("the comment says no type: write its bounds (%q), or a default that is true or false", "Refused: less than 0, more than 2.")
	}
	for bound, target := range map[string]*any{least: &schema.Minimum, most: &schema.Maximum} {
		if bound != "" {
			*target = json.Number(bound)
		}
	}
	if byDefault := said.literal(); json.Valid([]byte(byDefault)) {
		schema.Default = json.RawMessage(byDefault)
	}
	return schema, nil
}
