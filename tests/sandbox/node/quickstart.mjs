// The quickstart's first call, plain and streamed, with only base URL and key changed.
// Prints one JSON object; the key comes by the environment and is never printed.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.BEATRA_BASE_URL,
  apiKey: process.env.BEATRA_API_KEY,
  maxRetries: 0,
});
const request = { model: "auto", messages: [{ role: "user", content: "Say hi in five words." }] };

try {
  const { data, response } = await client.chat.completions.create(request).withResponse();
  let streamed = "";
  let last = null;
  let usage = null;
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of stream) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
    last = chunk.choices[0]?.finish_reason ?? last;
    usage = chunk.usage ?? usage;
  }
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  console.log(
    JSON.stringify({
      text: data.choices[0].message.content,
      id: data.id,
      model: data.model,
      usage: data.usage,
      requestId: data._request_id ?? response.headers.get("x-request-id"),
      streamed,
      last,
      streamedUsage: usage,
      models,
    }),
  );
} catch (error) {
  console.log(JSON.stringify({ name: error.constructor.name, status: error.status, error: error.error }));
}
