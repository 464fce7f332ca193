package chatcompletion_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/modelroute/chatcompletion"
)

// decodeConfig fills a Config from decoded JSON, as Traefik's loader does: it matches keys case-insensitively, and puts
// keys without a field into Unknown. The tests in e2e use the loader itself.
func decodeConfig(members map[string]any) (*chatcompletion.Config, error) {
	config := chatcompletion.CreateConfig()
	return config, decodeStruct(members, reflect.ValueOf(config).Elem())
}

func decodeStruct(members map[string]any, target reflect.Value) error {
	unknown := map[string]any{}
	for key, value := range members {
		field := target.FieldByNameFunc(func(name string) bool { return name != "Unknown" && strings.EqualFold(name, key) })
		if !field.IsValid() {
			unknown[key] = value
			continue
		}
		if nested, isObject := value.(map[string]any); isObject && field.Kind() == reflect.Struct {
			if err := decodeStruct(nested, field); err != nil {
				return err
			}
			continue
		}
		if list, isList := value.([]any); isList && field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct {
			if err := decodeStructs(list, field); err != nil {
				return err
			}
			continue
		}
		if nested, isObject := value.(map[string]any); isObject && field.Kind() == reflect.Map && field.Type().Elem().Kind() == reflect.Struct {
			if err := decodeMap(nested, field); err != nil {
				return err
			}
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, field.Addr().Interface()); err != nil {
			return fmt.Errorf("'%s' %w", key, err)
		}
	}
	if len(unknown) > 0 {
		target.FieldByName("Unknown").Set(reflect.ValueOf(unknown))
	}
	return nil
}

func decodeStructs(list []any, target reflect.Value) error {
	for _, element := range list {
		members, isObject := element.(map[string]any)
		if !isObject {
			return fmt.Errorf("%v: want an object", element)
		}
		decoded := reflect.New(target.Type().Elem()).Elem()
		if err := decodeStruct(members, decoded); err != nil {
			return err
		}
		target.Set(reflect.Append(target, decoded))
	}
	return nil
}

func decodeMap(members map[string]any, target reflect.Value) error {
	target.Set(reflect.MakeMap(target.Type()))
	for name, value := range members {
		nested, isObject := value.(map[string]any)
		if !isObject {
			return fmt.Errorf("%v: want an object", value)
		}
		decoded := reflect.New(target.Type().Elem()).Elem()
		if err := decodeStruct(nested, decoded); err != nil {
			return err
		}
		target.SetMapIndex(reflect.ValueOf(name), decoded)
	}
	return nil
}
