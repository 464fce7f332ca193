package chatcompletion

// endpointKind is a row of the table of governed kinds: what distinguishes the endpoints of a kind.
type endpointKind struct {
	kind         kind
	protocol     *protocol // nil: that of the client
	operation    string    // gen_ai.operation.name
	path         string    // of the provider, after the base path; empty: the client's
	parameters   func() []*parameter
	conversation string              // the parameter that holds the conversation, an array; empty: there is none
	arguments    []string            // members of its elements that are objects, as the arguments of a call, see coverArguments
	config       string              // the parameter whose members are governed as parameters, too; empty: there is none
	configured   func() []*parameter // those members
	names        map[string]string   // of the parameters that Config.Params and Config.Limits name, where they are not OpenAI's
	counts       bool                // it counts the tokens of a request, and uses none
	onlyModel    bool                // of its parameters, only the model is governed
	action       string              // that follows the model in the path; empty: the model is in the body
	streams      bool                // every response is a stream
}

// newEndpointKinds returns the governed kinds. It reads no package variable that is made from another
// one (traefik/yaegi#1585).
func newEndpointKinds() []*endpointKind {
	anthropicNames := map[string]string{maxCompletionTokens: maxTokens}
	configNames := map[string]string{
		"top_p": "topP", maxTokens: contentMaxTokens, maxCompletionTokens: contentMaxTokens, "n": "candidateCount",
		"frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty",
	}
	return []*endpointKind{
		{kind: completions, protocol: openAIProtocol, operation: chatOperation, path: "/chat/completions", parameters: chatParameters, conversation: "messages"},
		{kind: embeddings, protocol: openAIProtocol, operation: embeddingsOperation, path: "/embeddings", parameters: embeddingsParameters},
		{
			kind: responses, protocol: openAIProtocol, operation: chatOperation, path: responsesSuffix, parameters: responsesParameters, conversation: "input",
			names: map[string]string{maxTokens: maxOutputTokens, maxCompletionTokens: maxOutputTokens},
		},
		{kind: countResponses, protocol: openAIProtocol, operation: countOperation, path: responsesSuffix + "/input_tokens", parameters: countResponsesParameters, counts: true},
		{
			kind: messages, protocol: anthropicProtocol, operation: chatOperation, path: "/messages", parameters: messagesParameters, conversation: "messages",
			arguments: []string{"input"}, names: anthropicNames,
		},
		{
			kind: countMessages, protocol: anthropicProtocol, operation: countOperation, path: "/messages/count_tokens", parameters: countMessagesParameters,
			conversation: "messages", arguments: []string{"input"}, names: anthropicNames, counts: true,
		},
		{
			kind: generateContent, protocol: geminiProtocol, operation: generateOperation, parameters: generateContentParameters, conversation: "contents",
			arguments: []string{"args", "response"}, config: "generationConfig", configured: generationConfigParameters, names: configNames, action: "generateContent",
		},
		{
			kind: streamGenerateContent, protocol: geminiProtocol, operation: generateOperation, parameters: generateContentParameters, conversation: "contents",
			arguments: []string{"args", "response"}, config: "generationConfig", configured: generationConfigParameters, names: configNames, action: "streamGenerateContent", streams: true,
		},
		{
			kind: countContents, protocol: geminiProtocol, operation: countOperation, parameters: countContentsParameters, conversation: "contents",
			arguments: []string{"args", "response"}, counts: true, action: "countTokens",
		},
		{kind: embedContent, protocol: geminiProtocol, operation: embeddingsOperation, parameters: embedContentParameters, action: "embedContent"},
		{kind: batchEmbedContents, protocol: geminiProtocol, operation: embeddingsOperation, parameters: batchEmbedParameters, action: "batchEmbedContents"},
		{kind: predict, protocol: geminiProtocol, operation: passthroughOperation, parameters: modelParameters, onlyModel: true, action: "predict"},
		{kind: realtime, protocol: openAIProtocol, operation: realtimeOperation, path: "/realtime", parameters: modelParameters, onlyModel: true},
		{kind: governedPassthrough, operation: passthroughOperation, parameters: modelParameters, onlyModel: true},
	}
}

// generatesContent reports whether a kind is generateContent, in one response or as a stream.
func generatesContent(k kind) bool {
	return k == generateContent || k == streamGenerateContent
}

// generatesText reports whether endpoints of a kind generate text, so that their responses have output.
func generatesText(k kind) bool {
	return k == completions || k == responses || k == messages || generatesContent(k)
}

// isCaptured reports whether the content of requests to endpoints of a kind can be captured.
func isCaptured(k kind) bool {
	return k == completions || k == messages || generatesContent(k)
}

// isGemini reports whether responses of a kind have the members of Gemini's protocol. Those of predict
// have others, which depend on the model. It is called for each window of a stream, and so calls nothing.
func isGemini(k kind) bool {
	return k == generateContent || k == streamGenerateContent || k == embedContent || k == batchEmbedContents || k == countContents
}
