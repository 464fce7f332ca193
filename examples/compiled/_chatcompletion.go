package main

import (
	"reflect"

	"github.com/modelroute/chatcompletion"
	"github.com/traefik/yaegi/stdlib"
)

// Traefik's interpreter looks among these symbols before it looks for source.
func init() {
	stdlib.Symbols["github.com/modelroute/chatcompletion/chatcompletion"] = map[string]reflect.Value{
		"New":          reflect.ValueOf(chatcompletion.New),
		"CreateConfig": reflect.ValueOf(chatcompletion.CreateConfig),
		"Config":       reflect.ValueOf((*chatcompletion.Config)(nil)),
	}
}
