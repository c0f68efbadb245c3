// A backend that tells a room something: node announce.mjs ROOM TEXT

import { Redis } from "ioredis";

const [, , room, text] = process.argv;
const redis = new Redis(process.env.REDIS_URL);
await redis.publish(room, text);
await redis.quit();
