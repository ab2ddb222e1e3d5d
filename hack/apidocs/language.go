package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sigs.k8s.io/yaml"
)

// language is what a page is written in.
type language interface {
	// say says an English text.
	say(text string) string
}

type english struct{}

func (english) say(text string) string { return text }

// chinese is zh.yaml. Its keys are the English texts themselves, so that one
// that changes has no translation any more.
type chinese struct {
	texts   map[string]string
	said    map[string]bool
	missing []string
}

func readChinese(file string) (*chinese, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var pairs []struct{ EN, ZH string }
	if err := yaml.UnmarshalStrict(text, &pairs); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	c := &chinese{texts: map[string]string{}, said: map[string]bool{}}
	for _, p := range pairs {
		en, zh := strings.TrimSpace(p.EN), strings.TrimSpace(p.ZH)
		if en == "" || zh == "" || c.texts[en] != "" {
			return nil, fmt.Errorf("%s: %q must be there once, with a translation", file, en)
		}
		c.texts[en] = zh
	}
	return c, nil
}

func (c *chinese) say(text string) string {
	if text == "" {
		return ""
	}
	if c.texts[text] == "" && !c.said[text] {
		c.missing = append(c.missing, text)
	}
	c.said[text] = true
	return c.texts[text]
}

// complaints are the texts without a translation, and the translations of texts
// that are no more.
func (c *chinese) complaints() error {
	var errs []error
	for _, text := range c.missing {
		pair, _ := yaml.Marshal([]map[string]string{{"en": text, "zh": ""}})
		errs = append(errs, fmt.Errorf("hack/apidocs/zh.yaml lacks a translation:\n%s", pair))
	}
	for text := range c.texts {
		if !c.said[text] {
			errs = append(errs, fmt.Errorf("hack/apidocs/zh.yaml translates what is not in the reference any more: %q", text))
		}
	}
	return errors.Join(errs...)
}
